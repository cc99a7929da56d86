"""Why a run ends, and what is printed over its report."""

import enum


class StopReason(enum.StrEnum):
    """Why a run ended; equal to its name in `TrainingReport.reason`."""

    CONVERGED = "converged"
    NOTHING_LEARNED = "nothing_learned"
    BUDGET = "budget"
    MAX_EPISODES = "max_episodes"
    MAX_STEPS = "max_steps"
    TARGET = "target"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    EXHAUSTED = "exhausted"
    ERROR = "error"

    @property
    def is_final(self) -> bool:
        """True if a run that ended so has nothing left to do."""
        return self not in (StopReason.STOPPED, StopReason.INTERRUPTED, StopReason.ERROR)

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]

    @property
    def heading(self) -> str:
        """What stands over the report; the training is complete only where nothing is left to do and it was of use."""
        return _HEADINGS.get(self, "Training Complete")


_SENTENCES = {
    StopReason.CONVERGED: "Converged: no further improvement",
    StopReason.NOTHING_LEARNED: "Not ahead of the untrained policy",
    StopReason.BUDGET: "Spawn budget exhausted",
    StopReason.MAX_EPISODES: "max_episodes windows are done",
    StopReason.MAX_STEPS: "max_steps training steps are done",
    StopReason.TARGET: "target_score is reached",
    StopReason.STOPPED: "stop() was called",
    StopReason.INTERRUPTED: "Interrupted by the user",
    StopReason.EXHAUSTED: "The pipeline has no more windows",
    StopReason.ERROR: "An error ended the run",
}
_HEADINGS = {
    StopReason.NOTHING_LEARNED: "Nothing Learned",
    StopReason.STOPPED: "Training Stopped",
    StopReason.INTERRUPTED: "Training Interrupted",
    StopReason.ERROR: "Training Failed",
}
