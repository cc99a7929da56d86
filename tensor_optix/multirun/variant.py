"""What a worker runs for a variant: a run of its own that begins as a mutated clone of its parent's best policy."""

from pathlib import Path

from tensor_optix._run_reports import read_report
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import Lineage
from tensor_optix.core.evolution.pool import PolicyPool
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.executors import Context, Payload
from tensor_optix.factory import set_threads
from tensor_optix.multirun.files import digest, files_in
from tensor_optix.multirun.jobs import has_ended, trained
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import SavedState

LEARN_ON = "tensor_optix.multirun.variant:learn_on"


def learn_on(item: Payload, context: Context) -> Payload:
    """Let a variant learn until its run ends, or go on with it where it was; one that has ended is only told.

    Args:
        item: values `run_dir`, `allow_modules`; `parent_dir`, the folder of the run whose best policy is the parent,
            and `parent`, its snapshot; `noise_scale` of the mutation.
        context: told after each window.

    Returns:
        `reason` of the end, `steps` and `windows` of the run; `changes`, see `Lineage`; `snapshot`, the best policy,
        and `sha256` of its weights, None without one.

    Raises:
        CheckpointCorruptError: the parent's files are not intact, or another policy is the best there by now.
    """
    values, run_dir = item.values, Path(item.values["run_dir"])
    run, lineages = RunDescription.read(run_dir, values["allow_modules"]), list[Lineage]()

    def begin(agent: BaseAgent, pipeline: BasePipeline) -> None:
        lineages.append(spawned(agent, pipeline, run, values))

    if has_ended(run_dir, run):
        set_threads(run.framework, run.threads)
        begin(run.agent(), run.pipeline())
    else:
        trained(run_dir, values["allow_modules"], context, begin=begin)
    report = read_report(run_dir)
    assert report is not None  # noqa: S101 - for the type checker; a run that has ended has one
    registry = CheckpointRegistry(run_dir)
    best = registry.best
    return Payload(
        {
            "reason": report.reason,
            "steps": report.env_steps,
            "windows": report.windows,
            "changes": lineages[0].to_dict()["changes"],
            "snapshot": None if best is None else best.snapshot_id,
            "sha256": None if best is None else digest(files_in(registry.path_of(best) / "weights")),
        }
    )


def spawned(agent: BaseAgent, pipeline: BasePipeline, run: RunDescription, values: SavedState) -> Lineage:
    """Turn a fresh agent into a mutated clone of its parent, with the parent's statistics; return where it came from.

    Args:
        agent: the agent.
        pipeline: takes the statistics.
        run: of the variant; its seed is where the mutation comes from.
        values: of the item, see `learn_on`.
    """
    registry = CheckpointRegistry(values["parent_dir"])
    registry.attach("pipeline", pipeline)
    pool = PolicyPool(registry, seed=run.seed)
    if not run.tuning:
        pool.join_run({}, SearchSpace({}), None)  # what is not tuned is not mutated either
    pool.spawn_variant(agent, values["noise_scale"])
    lineage = pool.newest_lineage
    if lineage is None or lineage.parent != values["parent"]:
        raise CheckpointCorruptError(
            f"{values['parent_dir']!r} gave snapshot {None if lineage is None else lineage.parent}, not "
            f"{values['parent']}, which the variants of this generation come from: it is damaged, or was changed."
        )
    return lineage
