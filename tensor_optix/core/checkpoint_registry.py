"""Snapshots on disk, the best of them, and the manifest.

    checkpoint_dir/
        manifest.json                       which snapshots there are and which is best; rebuilt from them if it is lost
        snapshot_<id>/metadata.json         score, hyper-parameters, length and SHA-256 of each file, and its own hash
        snapshot_<id>/weights/              whatever the agent's save_weights wrote
        snapshot_<id>/policy.json           what the weights need besides: spaces, and what the agent is built from
        snapshot_<id>/companions.json       the policy state beside the weights, e.g. statistics of normalisation
        quarantine/                         snapshots that were found damaged

All paths are computed from ids and relative to the directory, so that a moved one still loads. A snapshot is written to
a temporary folder, synced, renamed, and only then listed (`durable_folder`): what `save` has returned is safe.
Longer than 300 lines: its public methods stand in one class; most of their code is in `storage`.
"""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import contextlib
import dataclasses
import logging
import os
import re
import weakref
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tensor_optix.core.agents_by_algorithm import FittingAgents
from tensor_optix.core.base_agent import BaseAgent, SavesNormalization
from tensor_optix.core.decisions.ranking import ranked
from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.storage import atomic, locating, resume_ring, tree
from tensor_optix.core.storage.durable_folder import LOOKS, QUARANTINE
from tensor_optix.core.storage.line_log import BESIDE, RECORDS
from tensor_optix.core.storage.policy_state import POLICY_FILE, Stateful, restored_policy_state, write_policy_state
from tensor_optix.core.storage.signing import signing_key
from tensor_optix.core.storage.snapshot_folders import MANIFEST, PREFIX, SnapshotFolders
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot
from tensor_optix.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointStorageError,
    ContractError,
    InvalidArgumentError,
)
from tensor_optix.support.arguments import check_count

logger = logging.getLogger(__name__)
_ALLOW_SHARED = "TENSOR_OPTIX_ALLOW_SHARED_DIRECTORY"
_REGISTRIES: "weakref.WeakSet[CheckpointRegistry]" = weakref.WeakSet()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CheckpointRegistry:
    """The snapshots of one run in one directory.

    Several registries of one process may share a directory: each reads it anew, none caches it.

    Args:
        checkpoint_dir: the directory; created at the first write, for this user alone.
        max_snapshots: how many of the newest are kept, beside the best and the pinned ones.
        now: wall clock for `created_at`.
        allow_shared_directory: allow a directory that other users own or may write to.

    Raises:
        InvalidArgumentError: `max_snapshots` below 1, or a `checkpoint_dir` that is no path.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str] = "./checkpoints",
        max_snapshots: int = 10,
        *,
        now: Callable[[], datetime] = _utc_now,
        allow_shared_directory: bool = False,
    ) -> None:
        check_count("max_snapshots", max_snapshots, 1)
        if not isinstance(checkpoint_dir, str | os.PathLike):
            raise InvalidArgumentError(f"checkpoint_dir must be the path of a directory, but got {checkpoint_dir!r}.")
        self.directory = Path(checkpoint_dir).absolute()  # the process may go elsewhere while it trains
        self.max_snapshots = max_snapshots
        self._now = now
        self._may_be_shared = allow_shared_directory or os.environ.get(_ALLOW_SHARED) == "1"
        self._lock: atomic.DirectoryLock | None = None
        self._folders = SnapshotFolders(self.directory, ranked)
        self._pinned: set[str] = set()
        _REGISTRIES.add(self)
        self.reserve: set[str] | None = None
        """Ids of the snapshots in reserve that the run knows; None = not told."""
        self.era = 0
        """The era of new snapshots; see `PolicySnapshot.era`."""
        self.describe: Callable[[BaseAgent], Mapping[str, object]] | None = None
        """Says what a policy needs besides its weights, as plain JSON values; saved with each snapshot."""
        self.attached: dict[str, Stateful] = {}
        """The parts whose state is saved and restored together with the agent's weights, by name."""
        self.agents: FittingAgents | None = None
        """Finds the agent that a snapshot fits, where a run has agents of several algorithms; None = the given one."""

    def attach(self, name: str, part: Stateful) -> None:
        """Save the state of `part` with each snapshot from now on, and restore it with the agent's weights.

        A part without a state (an empty `state_dict`) leaves snapshots as they are.
        """
        if not isinstance(part, Stateful):
            raise ContractError(f"{name!r} needs state_dict and load_state_dict, which {type(part).__name__} lacks.")
        self.attached[name] = part

    def open(self) -> None:
        """Create the directory, take its lock, delete unfinished writes, and quarantine damaged snapshots.

        Raises:
            CheckpointPathError: it is the folder of a snapshot.
            CheckpointLockedError: another process writes to it.
            CheckpointUnsafeError: others may write to it, or read the key.
            CheckpointUnsignedError: there is a key, and something here was not signed with it.
            CheckpointStorageError: it cannot be created or written.
        """
        signing_key()  # an unusable key is an error before anything is learned
        if locating.is_snapshot(self.directory):  # what is written there would damage it
            raise locating.not_a_run(self.directory)
        with atomic.storage_errors("create", self.directory):
            atomic.make_directory(self.directory)
            if self._lock is None:
                self._lock = atomic.DirectoryLock(self.directory)
            if not self._lock.is_held and not self._may_be_shared:
                atomic.check_private(self.directory)
        if self._lock.acquire():
            try:
                # No one in this process has written here: unfinished writes are those of a process that died.
                with atomic.storage_errors("clean", self.directory):
                    self._folders.clean(everything=True)
                    self._folders.quarantine_damaged()
            except BaseException:
                self._lock.release()
                raise

    def close(self) -> None:
        """Release the lock; the run no longer says what it has in reserve."""
        self.reserve = None
        if self._lock is not None:
            self._lock.release()

    def save(
        self,
        agent: BaseAgent,
        eval_metrics: EvalMetrics,
        window_id: int | HyperparamSet = 0,
        hyperparams: HyperparamSet | None = None,
        evidence: Sequence[PlayedWindow] = (),
    ) -> PolicySnapshot:
        """Save the agent's weights with their score; on return they are on disk.

        The third argument may be the hyper-parameters, `save(agent, eval_metrics, hyperparams)`.
        """
        if isinstance(window_id, HyperparamSet):
            window_id, hyperparams = eval_metrics.episode_id, window_id
        check_count("window_id", window_id, 0)
        hyperparams = hyperparams or agent.get_hyperparams()
        return self.commit(self.stage(agent), eval_metrics, window_id, hyperparams, evidence)

    def stage(self, agent: BaseAgent) -> Path:
        """Write the policy (weights and policy state) to a temporary folder; `commit` it once its score is known."""
        self.open()
        with atomic.storage_errors("write to", self.directory):
            staged = self._folders.stage()
            try:
                (staged / "weights").mkdir()
                self._hand_normalizer_to(agent)
                agent.save_weights(str(staged / "weights" / "agent"))
                if not any(path.is_file() for path in (staged / "weights").rglob("*")):
                    raise CheckpointError(f"{type(agent).__name__}.save_weights(path) wrote no file at its path.")
                write_policy_state(staged, self.attached)
                if self.describe is not None:
                    content = atomic.encode_json(self.describe(agent))
                    atomic.write_file(staged / POLICY_FILE, content, sync=False)
            except BaseException:
                tree.try_remove(staged)
                raise
        return staged

    def discard(self, staged: Path) -> None:
        """Delete a staged folder; where the storage refuses, the next `open` does."""
        tree.try_remove(staged)

    def commit(
        self,
        staged: Path,
        eval_metrics: EvalMetrics,
        window_id: int,
        hyperparams: HyperparamSet,
        evidence: Sequence[PlayedWindow] = (),
        *,
        in_reserve: bool = False,
    ) -> PolicySnapshot:
        """Turn a staged folder into a snapshot, list it, and prune; on return it is on disk.

        One in reserve is neither listed nor pruned: it stays until `keep_in_reserve` leaves it out.

        A snapshot that a resumed run commits again is not saved twice: where one that the run has left differs in its
        number only, it is returned.

        Raises:
            CheckpointLockedError: another process writes to the directory.
            CheckpointStorageError: it could not be saved; earlier snapshots are untouched, and nothing of it remains.
        """
        try:
            with atomic.storage_errors("save a snapshot in", self.directory):
                self.open()
                draft = PolicySnapshot(
                    snapshot_id="",
                    sequence=-1,
                    window_id=window_id,
                    eval_metrics=eval_metrics,
                    hyperparams=hyperparams.copy(),
                    created_at=self._now().isoformat(timespec="seconds"),
                    evidence=tuple(evidence),
                    era=self.era,
                    in_reserve=in_reserve,
                )
                snapshot, is_new = self._folders.seal_snapshot(staged, draft)
        except BaseException:
            tree.try_remove(staged)
            raise
        if in_reserve:
            self.reserve = {*(self.reserve or ()), snapshot.snapshot_id}
            return snapshot
        try:
            if is_new:
                self._folders.list_and_prune(self.max_snapshots, self._pins())
        except OSError as error:
            # The snapshot is on disk; the next commit lists and prunes again.
            logger.warning("Saved snapshot %s, but could not prune: %s", snapshot.snapshot_id, error)
        return snapshot

    def rescore(
        self, snapshot: PolicySnapshot, eval_metrics: EvalMetrics, evidence: Sequence[PlayedWindow] = ()
    ) -> PolicySnapshot:
        """Replace a snapshot's score, and the episodes behind it, by those of a longer test; return the result."""
        self.open()
        rescored = dataclasses.replace(snapshot, eval_metrics=eval_metrics, evidence=tuple(evidence), in_reserve=False)
        with atomic.storage_errors("rescore a snapshot in", self.directory):
            self._folders.replace(rescored)
            self._folders.write_manifest(self.snapshots())
        return rescored

    def go_back_to(self, point: int) -> None:
        """Undo each `rescore` since the run's state with this number was saved.

        The resumed run makes the same tests again, with the same results, and comes to the same policies in reserve.
        Where the storage refuses, a warning says so: the scores count those tests twice then.
        """
        self.open()
        try:
            self._folders.go_back_to(point)
            self._folders.write_manifest(self.snapshots())
        except OSError as error:
            logger.warning("Tests since the run was saved could not be undone, and count as they are: %s", error)

    def keep_in_reserve(self, snapshot_ids: Collection[str]) -> None:
        """Delete those that were put in reserve and are not among these; a snapshot that was tested meanwhile stays.

        Args:
            snapshot_ids: of the snapshots in reserve that are still needed.
        """
        dropped = sorted((self.reserve or set()) - set(snapshot_ids))
        self.reserve = set(snapshot_ids)
        with atomic.storage_errors("prune", self.directory):
            self._folders.drop_reserve([_sequence(snapshot_id) for snapshot_id in dropped])

    def prune(self) -> None:
        """Delete all but the newest `max_snapshots`, the best and the pinned ones. `commit` prunes, `rescore` not."""
        self.open()
        with atomic.storage_errors("prune", self.directory):
            self._folders.list_and_prune(self.max_snapshots, self._pins())

    def pin(self, snapshot_id: str) -> None:
        """Exclude a snapshot from pruning by this process, until `unpin` or the end of this registry.

        Raises:
            CheckpointCorruptError: there is no such snapshot, or it is damaged.
        """
        self._folders.snapshot(_sequence(snapshot_id))
        self._pinned.add(snapshot_id)

    def unpin(self, snapshot_id: str) -> None:
        """Allow pruning a snapshot again; harmless if it was not pinned."""
        self._pinned.discard(snapshot_id)

    def snapshots(self) -> list[PolicySnapshot]:
        """Return all readable snapshots in the order of saving; a damaged one is logged and left out."""
        with atomic.storage_errors("list", self.directory):
            return self._folders.all()

    @property
    def ranked_snapshots(self) -> list[PolicySnapshot]:
        """The scored snapshots, best first; of equals the earlier one first."""
        return ranked(self.snapshots())

    @property
    def best(self) -> PolicySnapshot | None:
        """The snapshot with the best score of the newest era; None where none is scored."""
        return next(iter(self.ranked_snapshots), None)

    def path_of(self, snapshot: PolicySnapshot) -> Path:
        """Return the folder of a snapshot."""
        return self._folders.folder(_sequence(snapshot.snapshot_id))

    def load(self, snapshot: PolicySnapshot, agent: BaseAgent) -> None:
        """Verify a snapshot's files and load its weights into `agent` and its policy state into the attached parts.

        Where another algorithm has learned it (`agents`), that one's agent gets the weights, and acts from then on.

        Raises:
            CheckpointCorruptError: a file is missing, changed or not a plain file; nothing is touched.
            CheckpointMismatchError: it holds no state that fits an attached part; nothing is touched.
        """
        folder = self.path_of(snapshot)
        self._folders.verify(_sequence(snapshot.snapshot_id))
        agent = agent if self.agents is None else self.agents.fitting(folder, agent)
        self._hand_normalizer_to(agent)
        with atomic.storage_errors("read", folder), restored_policy_state(folder, self.attached):
            agent.load_weights(str(folder / "weights" / "agent"))
        if self.agents is not None:
            self.agents.install(agent)

    def fits(self, snapshot: PolicySnapshot, agent: BaseAgent) -> bool:
        """Return whether `load` gives the weights to `agent`, and not to one of another algorithm."""
        return self.agents is None or self.agents.fitting(self.path_of(snapshot), agent) is agent

    @contextlib.contextmanager
    def loaded(self, snapshot: PolicySnapshot, agent: BaseAgent) -> Generator[None]:
        """Load a snapshot into `agent` for the block, and restore the agent's own policy after it."""
        staged = self.stage(agent)
        try:
            self.load(snapshot, agent)
            yield
        finally:
            if self.agents is not None:
                self.agents.install(agent)
            with atomic.storage_errors("read", staged), restored_policy_state(staged, self.attached):
                agent.load_weights(str(staged / "weights" / "agent"))
            self.discard(staged)

    def load_best(self, agent: BaseAgent, first: PolicySnapshot | None = None) -> PolicySnapshot:
        """Load the best intact snapshot into `agent` and return it; a damaged one is logged, and the next one tried.

        Args:
            agent: the agent that gets its weights.
            first: a snapshot to try before the best.

        Raises:
            CheckpointPathError: the directory is not that of a run; the message says which one is.
            CheckpointCorruptError: no intact snapshot is left.
        """
        passed_over: set[int] = set()
        for _ in range(LOOKS):
            wanted = [s for s in self.ranked_snapshots if s.sequence not in passed_over]
            if first is not None:
                wanted.sort(key=lambda snapshot: snapshot.sequence != first.sequence)
            for snapshot in wanted:
                try:
                    self.load(snapshot, agent)
                except (CheckpointCorruptError, CheckpointStorageError) as error:
                    if tree.is_gone(self.path_of(snapshot)):
                        break  # pruned by another process, perhaps in favour of a better one: list again
                    passed_over.add(snapshot.sequence)
                    logger.warning("Snapshot %06d cannot be loaded, trying the next best: %s", snapshot.sequence, error)
                else:
                    return snapshot
            else:
                break
        if not locating.is_run(self.directory):
            raise locating.not_a_run(self.directory)
        raise locating.nothing_intact(self.directory, has_scored=bool(passed_over))

    def load_if_better(self, agent: BaseAgent, score: float | EvalMetrics) -> bool:
        """Load the best snapshot into `agent` if that is better than `score`; return whether it was."""
        best = self.best
        if best is None:
            return False
        found = score if isinstance(score, EvalMetrics) else dataclasses.replace(best.eval_metrics, primary_score=score)
        if not is_improvement(best.eval_metrics.utility, found.utility):
            return False
        self.load_best(agent)
        return True

    def archive(self, also: Sequence[str] = ()) -> Path | None:
        """Move all files of an earlier run to `previous_<n>/`, so that a new run starts empty.

        Args:
            also: names of the caller's files that belong to the run.

        Returns the folder it was moved to, None where there was nothing to move.
        """
        self.open()
        with atomic.storage_errors("archive an earlier run in", self.directory):
            own = {MANIFEST, *RECORDS, *BESIDE, QUARANTINE, resume_ring.ATTEMPTS, *also}
            names = sorted(os.listdir(self.directory))
            old = [n for n in names if n in own or n.startswith(PREFIX) or resume_ring.is_point(n)]
            return tree.move_to_new(self.directory, old, "previous_") if old else None

    def _hand_normalizer_to(self, agent: BaseAgent) -> None:
        """Let the agent save the statistics of an attached part with its weights, and restore them with those."""
        for part in self.attached.values():
            normalizer: object = getattr(part, "observation_normalizer", None)
            if normalizer is not None and isinstance(agent, SavesNormalization):
                agent.set_observation_normalizer(normalizer)

    def _pins(self) -> set[str]:
        pinning, here = [r for r in _REGISTRIES if r._pinned], os.path.realpath(self.directory)
        return {name for r in pinning if os.path.realpath(r.directory) == here for name in r._pinned}


def _sequence(snapshot_id: str) -> int:
    if not re.fullmatch("[0-9]{6,12}", snapshot_id):
        raise CheckpointCorruptError(f"{snapshot_id!r} is no snapshot id (six to twelve digits).")
    return int(snapshot_id)
