"""Mutants that are not held against the unit tests, by name, and why: no test could tell them, or another kind does."""

_BOUND = "a bound, whose size is a choice: those of the code and of the mutant keep the same promise"
_POWER = "only a power cut tells it: G4 plants it"

EQUIVALENT = {
    "tensor_optix/core/storage/atomic.py : 4 becomes 3": _BOUND,
    "tensor_optix/core/storage/atomic.py : 4 becomes 5": _BOUND,
    "tensor_optix/core/storage/atomic.py : 20 becomes 19": _BOUND,
    "tensor_optix/core/storage/atomic.py : 20 becomes 21": _BOUND,
    "tensor_optix/core/storage/locating.py _best_of: 22 becomes 21": _BOUND,
    "tensor_optix/core/storage/locating.py _best_of: 22 becomes 23": _BOUND,
    "tensor_optix/core/storage/reading.py open_plain: 0 becomes 1": "the default is for platforms without the flag",
    "tensor_optix/core/storage/reading.py open_plain: 0 becomes -1": "the default is for platforms without the flag",
    "tensor_optix/core/storage/line_log.py : 20 becomes 19": _BOUND,
    "tensor_optix/core/storage/line_log.py : 20 becomes 21": _BOUND,
    "tensor_optix/core/checkpoint_registry.py CheckpointRegistry.commit: 1 becomes 2": (
        "the number of a draft, which its own replaces"
    ),
    "tensor_optix/core/checkpoint_registry.py CheckpointRegistry.commit: 1 becomes 0": (
        "the number of a draft, which its own replaces"
    ),
    "tensor_optix/core/storage/line_log.py : 24 becomes 23": _BOUND,
    "tensor_optix/core/storage/line_log.py : 24 becomes 25": _BOUND,
    "tensor_optix/core/storage/metadata.py : 256 becomes 255": "how many are remembered changes no result",
    "tensor_optix/core/storage/metadata.py : 256 becomes 257": "how many are remembered changes no result",
    "tensor_optix/core/storage/snapshot_folders.py : 256 becomes 255": _BOUND,
    "tensor_optix/core/storage/snapshot_folders.py : 256 becomes 257": _BOUND,
    "tensor_optix/core/storage/atomic.py replace_file: left out: fsync_directory(path.parent)": _POWER,
    "tensor_optix/core/storage/atomic.py remove_file: left out: fsync_directory(path.parent)": _POWER,
    "tensor_optix/core/storage/line_log.py LineLog.position: left out: os.fsync(self._file.fileno())": _POWER,
    "tensor_optix/core/storage/metadata.py metadata_in: Gt becomes GtE in written > FOLDER_FORMAT": (
        "they are compared where they differ only"
    ),
    "tensor_optix/pipeline/feed/actions.py _fits: False becomes True": "the lengths are compared before the pairs",
    "tensor_optix/core/storage/durable_folder.py DurableFolders._move_to: left out: atomic.fsync_directory(target)": _POWER,  # noqa: E501
    "tensor_optix/core/storage/tree.py _Folder.__init__: BitOr becomes BitAnd in os.O_RDONLY | os.O_DIRECTORY": (
        "that it is a folder is asked besides; the flag is against another process between the two"
    ),
    "tensor_optix/core/loop/learning.py after_divergence: 0.0 becomes -1.0": "half of a positive rate is above both",
    "tensor_optix/core/loop/guard.py : 20 becomes 19": _BOUND,
    "tensor_optix/core/loop/guard.py : 20 becomes 21": _BOUND,
    "tensor_optix/pipeline/environment/bad_steps.py StepCheck.looked_at: LtE becomes Lt in -LARGEST <= reward <= LARGEST": (  # noqa: E501
        "what the look leaves, the check accepts"
    ),
}
