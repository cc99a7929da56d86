"""What a window came to, before anything is decided about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tensor_optix.core.loop.learning import Fault
from tensor_optix.core.loop.run_state import WatchState
from tensor_optix.core.loop.selection import Retest
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a window came to: a fault, a score with the episodes behind it, or nothing that needs a decision."""

    hyperparams: HyperparamSet
    """The values in force while it was collected."""
    probed_param: str | None = None
    """Hyper-parameter on trial in it."""
    is_probing: bool = False
    """True if a dip of the score may be that trial's."""
    diagnostics: Mapping[str, object] = field(default_factory=dict[str, object])
    """What `learn` told of it."""
    fault: Fault | None = None
    """Why nothing could be made of it."""
    metrics: EvalMetrics | None = None
    """Its score; None where it was not evaluated."""
    pending: EvalMetrics | None = None
    """The score of the window itself, where its validation was broken off, or is played beside the next one; then there
    is no other yet."""
    is_best: bool = False
    """True if the policy has beaten the best."""
    evidence: tuple[PlayedWindow, ...] = ()
    """The episodes behind the score, where they are fixed by seeds."""
    staged: Path | None = None
    """The weights that were scored, where learning has changed them since."""
    incumbent: Retest | None = None
    """What the best so far has shown in the same test."""
    test_steps: int = 0
    """Steps that the test took."""
    cut_at: int = 0
    """Steps after which episodes behind the score, or of the test, were cut; 0 = none was."""
    gain_of_length: float | None = None
    """What longer episodes add to the score, the higher the better; None = those before were not cut sooner."""
    is_repeatable: bool = False
    """True if the score is that of episodes fixed by seeds, so that the last test can play the policy again."""
    is_validated: bool = False
    """True if the score is that of held-out episodes."""
    watch: WatchState | None = None
    """On watch: what is known of champion and challenger after the window."""
    event: str | None = None
    """On watch: `drift`, or how a trial has ended."""
    is_promoted: bool | None = None
    """Whether the challenger has won its trial; None where no trial has ended."""
