import importlib
import subprocess
import sys
import textwrap

import pytest

import tensor_optix
from tensor_optix.errors import MissingDependencyError, TensorOptixError

FRAMEWORKS = ("torch", "tensorflow", "keras")
PACKAGES = {
    "adapters",
    "adapters.pytorch",
    "adapters.tensorflow",
    "algorithms",
    "callbacks",
    "core",
    "optimizers",
    "pipeline",
}
"""Those that users import from."""


def run_python(code: str) -> str:
    result = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_loads_no_framework() -> None:
    loaded = run_python(f"import tensor_optix, sys; print([m for m in {FRAMEWORKS} if m in sys.modules])")
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("name", tensor_optix.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(tensor_optix, name) is not None


def test_dir_is_complete() -> None:
    assert set(tensor_optix.__all__) <= set(dir(tensor_optix))


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'RLOptimizer'"):
        _ = tensor_optix.RLOptimiser  # type: ignore[attr-defined]


def test_without_frameworks_the_core_and_the_facade_work_and_agents_say_what_to_install() -> None:
    out = run_python(
        """
        import importlib.abc, sys

        class Block(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name.split(".")[0] in ("torch", "tensorflow", "keras"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

        sys.meta_path.insert(0, Block())
        import tempfile
        import tensor_optix
        from tests.helpers import NumpyAgent, ScriptedPipeline

        with tempfile.TemporaryDirectory() as folder:
            report = tensor_optix.RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0, 2.0]), checkpoint_dir=folder).run()
        print(report.best_score)
        for line in (
            "tensor_optix.TorchPPOAgent",
            "from tensor_optix.algorithms.torch_ppo import TorchPPOAgent",
            "from tensor_optix.algorithms.torch_dqn import TorchDQNAgent",
            "from tensor_optix.algorithms.torch_sac import TorchSACAgent",
            "from tensor_optix.adapters.pytorch.torch_agent import TorchAgent",
            "tensor_optix.TFPPOAgent",
            "from tensor_optix.algorithms.tf_ppo import TFPPOAgent",
            "from tensor_optix.adapters.tensorflow.tf_agent import TFAgent",
        ):
            try:
                exec(line)
            except tensor_optix.TensorOptixError as error:
                print(type(error).__name__, error)
        from tensor_optix.adapters.pytorch.torch_evaluator import TorchEvaluator
        from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator
        """
    )
    torch = (
        "MissingDependencyError The PyTorch agents need torch, which is not installed. "
        "Install it with: pip install 'tensor-optix-core[torch]'"
    )
    tensorflow = (
        "MissingDependencyError The TensorFlow agents need tensorflow, which is not installed. "
        "Install it with: pip install 'tensorflow>=2.18'"
    )
    assert out.splitlines() == ["2.0", *[torch] * 5, *[tensorflow] * 3]


def test_missing_dependencies_are_import_errors_too() -> None:
    assert issubclass(MissingDependencyError, ImportError)
    assert issubclass(MissingDependencyError, TensorOptixError)


QUICK = [
    "tests/core/test_loop_controller.py",
    "tests/core/evolution/test_callback.py",
    "tests/optimizers/test_pbt_optimizer.py",
]
ALL = [
    "tests/optimizers",
    *QUICK[:2],
    *(
        f"tests/core/{name}.py"
        for name in (
            "loop/test_execution",
            "evolution/test_pool",
            "test_checkpoint_registry",
            "storage/test_resume_ring",
        )
    ),
]


@pytest.mark.parametrize("tests", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_the_core_works_without_frameworks(tests: list[str]) -> None:
    """Those of the core's own tests that use all of it, with every framework made impossible to import."""
    out = run_python(
        f"""
        import sys
        sys.modules.update(dict.fromkeys({FRAMEWORKS}))
        import pytest
        code = pytest.main(["-q", "-p", "no:cacheprovider", "-x", *{tests}])
        print("code", int(code))
        """
    )
    assert out.strip().endswith("code 0")


@pytest.mark.parametrize(
    "absent", [pytest.param(("torch",), marks=pytest.mark.slow), ("tensorflow", "keras"), FRAMEWORKS]
)
def test_everything_can_be_imported_at_once_with_the_frameworks_that_there_are(absent: tuple[str, ...]) -> None:
    out = run_python(
        f"""
        import sys
        sys.modules.update(dict.fromkeys({absent}))
        from tensor_optix import *
        import tensor_optix
        names = {sorted(tensor_optix.__all__)}
        print([name for name in names if name not in globals()])
        print([name for name in names if name not in dir(tensor_optix)])
        """
    )
    gone = tuple(prefix for prefix, name in (("TF", "tensorflow"), ("Torch", "torch")) if name in absent)
    missing = [n for n in sorted(tensor_optix.__all__) if n.startswith(gone) and not n.endswith("Evaluator")]
    assert out.splitlines() == [str(missing), "[]"]
    assert len(missing) >= 4 * len(gone)


def test_a_package_exports_each_public_name_that_it_holds() -> None:
    without = set[str]()
    for name in tensor_optix.__all__:
        value = getattr(tensor_optix, name)
        home = getattr(value, "__module__", "") if getattr(value, "__name__", None) == name else ""
        holders = {package for package in PACKAGES if home.startswith(f"tensor_optix.{package}.")}
        without |= {f"{p}.{name}" for p in holders if name not in dir(importlib.import_module(f"tensor_optix.{p}"))}
    assert without == set()


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("optimizers", "PBTOptimizer"),
        ("pipeline", "VectorBatchPipeline"),
        ("algorithms", "TorchPPOAgent"),
        ("adapters", "TFAgent"),
        ("adapters.pytorch", "TorchEvaluator"),
        ("adapters.tensorflow", "TFEvaluator"),
        ("callbacks", "Progress"),
        ("core", "CheckpointRegistry"),
    ],
)
def test_packages_export_what_they_hold(package: str, name: str) -> None:
    module = importlib.import_module(f"tensor_optix.{package}")
    assert (
        getattr(module, name).__module__.startswith(f"tensor_optix.{package.split('.')[0]}.") or name == "TFEvaluator"
    )
    assert name in dir(module)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = module.Nothing


def test_importing_a_package_loads_no_framework() -> None:
    packages = "optimizers, pipeline, algorithms, adapters, callbacks, core"
    loaded = run_python(
        f"from tensor_optix import {packages}; import sys; print([m for m in {FRAMEWORKS} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"
