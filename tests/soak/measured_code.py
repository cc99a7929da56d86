"""The code that row G31 is about: the registry, what resumes a run, feeds and guards, and the unit tests of each."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

REGISTRY = (
    "tensor_optix/core/checkpoint_registry.py",
    "tensor_optix/core/storage/atomic.py",
    "tensor_optix/core/storage/durable_folder.py",
    "tensor_optix/core/storage/line_log.py",
    "tensor_optix/core/storage/locating.py",
    "tensor_optix/core/storage/metadata.py",
    "tensor_optix/core/storage/reading.py",
    "tensor_optix/core/storage/signing.py",
    "tensor_optix/core/storage/snapshot_folders.py",
    "tensor_optix/core/storage/tree.py",
)
RESUME = (
    "tensor_optix/core/loop/keeping.py",
    "tensor_optix/core/loop/resuming.py",
    "tensor_optix/core/loop/run_state.py",
    "tensor_optix/core/storage/policy_state.py",
    "tensor_optix/core/storage/resume_ring.py",
    "tensor_optix/core/storage/run_keeper.py",
)
FEED = (
    "tensor_optix/pipeline/feed/acting.py",
    "tensor_optix/pipeline/feed/boundaries.py",
    "tensor_optix/pipeline/feed/feed.py",
    "tensor_optix/pipeline/feed/intake.py",
    "tensor_optix/pipeline/feed/ledger.py",
    "tensor_optix/pipeline/feed/reader.py",
    "tensor_optix/pipeline/feed/recorded_values.py",
    "tensor_optix/pipeline/feed/recording.py",
    "tensor_optix/pipeline/feed/session_reading.py",
    "tensor_optix/pipeline/feed/sorting.py",
    "tensor_optix/pipeline/feed/stream.py",
)
GUARDS = (
    "tensor_optix/core/faults.py",
    "tensor_optix/core/loop/guard.py",
    "tensor_optix/core/loop/learning.py",
    "tensor_optix/pipeline/_items.py",
    "tensor_optix/pipeline/environment/bad_steps.py",
    "tensor_optix/pipeline/feed/actions.py",
)
MEASURED = REGISTRY + RESUME + FEED + GUARDS
MUTATED = REGISTRY + GUARDS

TESTS = (
    "tests/core/storage",
    "tests/core/test_agents_by_algorithm.py",
    "tests/core/test_checkpoint_registry.py",
    "tests/core/test_faults.py",
    "tests/core/loop/test_guard.py",
    "tests/core/loop/test_keeping.py",
    "tests/core/loop/test_learning.py",
    "tests/core/loop/test_resuming.py",
    "tests/core/loop/test_run_state.py",
    "tests/pipeline/feed",
    "tests/pipeline/environment/test_bad_steps.py",
    "tests/pipeline/test_items.py",
    "tests/pipeline/test_live_pipeline.py",
    "tests/pipeline/test_recording.py",
)
"""Their unit tests, and those of the pipeline that feeds are read by."""
