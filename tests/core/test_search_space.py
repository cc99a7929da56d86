import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param, SearchSpace, Signal
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.support.arguments import is_real

# --- Param ---


@pytest.mark.parametrize(
    ("arguments", "rule", "value"),
    [
        ({"low": 1.0, "high": 1.0}, "`low < high`", "low=1.0, high=1.0"),
        ({"low": 2.0, "high": 1.0}, "`low < high`", "low=2.0, high=1.0"),
        ({"low": math.nan, "high": 1.0}, "must be finite", "low=nan"),
        ({"low": 0.0, "high": math.inf}, "must be finite", "high=inf"),
        ({"low": -math.inf, "high": 0.0}, "must be finite", "low=-inf"),
        ({"low": 0.0, "high": 1.0, "scale": "log"}, "`low > 0`", "low=0.0"),
        ({"low": -1.0, "high": 1.0, "scale": "log"}, "`low > 0`", "low=-1.0"),
        ({"low": "a", "high": "b"}, "must be finite", "low='a', high='b'"),
        ({"low": 0.1, "high": 1.0, "scale": "exp"}, "'linear' or 'log'", "'exp'"),
        ({"low": 0.2, "high": 0.8, "integer": True}, "No whole number", "low=0.2"),
    ],
)
def test_a_param_that_breaks_a_rule_is_refused_with_the_rule_and_the_value(
    arguments: dict[str, Any], rule: str, value: str
) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        Param(**arguments)
    assert rule in str(error.value)
    assert value in str(error.value)


@pytest.mark.parametrize(
    ("param", "value", "clipped"),
    [
        (Param(-1.0, 1.0), 0.3, 0.3),
        (Param(-1.0, 1.0), 5.0, 1.0),
        (Param(-1.0, 1.0), -5, -1.0),
        (Param(1, 10, integer=True), 3.4, 3),
        (Param(1, 10, integer=True), 99.0, 10),
        (Param(1, 10, integer=True), -99.0, 1),
        (Param(1.5, 3.5, integer=True), 0.0, 2),  # the bounds themselves are no whole numbers
        (Param(1.5, 3.5, integer=True), 9.0, 3),
        (Param(1e-5, 1e-2, "log"), 1.0, 1e-2),
    ],
)
def test_clip_gives_the_nearest_value_inside_and_of_the_right_kind(param: Param, value: float, clipped: float) -> None:
    assert param.clip(value) == clipped
    assert type(param.clip(value)) is (int if param.integer else float)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", None, 10**400])
@pytest.mark.parametrize("param", [Param(0.0, 1.0), Param(1, 10, integer=True)], ids=["float", "integer"])
def test_clip_refuses_what_is_no_finite_number(param: Param, value: Any) -> None:
    with pytest.raises(HyperparamError, match="cannot be"):
        param.clip(value)


@pytest.mark.parametrize(
    ("param", "value", "direction", "moved"),
    [
        (Param(-10.0, 10.0), 2.0, 1, 2.2),
        (Param(-10.0, 10.0), 2.0, -1, 1.8),
        (Param(-10.0, 10.0), -2.0, 1, -1.8),  # the step is a share of |value|
        (Param(-10.0, 10.0), 0.0, 1, 0.01),  # min_delta where a share of nothing is nothing
        (Param(-10.0, 10.0), 0.0, -1, -0.01),
        (Param(0.0, 2.1), 2.0, 1, 2.1),
        (Param(1e-5, 1.0, "log"), 1e-3, 1, 1.1e-3),
        (Param(1e-5, 1.0, "log"), 1e-3, -1, 1e-3 / 1.1),
        (Param(1e-5, 1.0, "log"), 1e-5, -1, 1e-5),
        (Param(1, 100, integer=True), 5, 1, 6),  # a tenth of 5 is no whole step
        (Param(1, 100, integer=True), 5, -1, 4),
        (Param(1, 100, integer=True), 40, 1, 44),
        (Param(1, 1024, "log", integer=True), 64, 1, 70),
        (Param(1, 1024, "log", integer=True), 2, -1, 1),
        (Param(1, 100, integer=True), 100, 1, 100),
    ],
)
def test_a_step_is_a_share_of_the_value_or_a_factor_and_whole_numbers_move_by_one_at_least(
    param: Param, value: float, direction: int, moved: float
) -> None:
    assert param.perturb(value, scale=0.1, min_delta=0.01, direction=direction) == pytest.approx(moved, rel=1e-12)


@st.composite
def params(draw: st.DrawFn) -> Param:
    scale, integer = draw(st.sampled_from(("linear", "log"))), draw(st.booleans())
    lowest = 1e-6 if scale == "log" else -1e4
    low = draw(st.floats(lowest, 1e4))
    high = draw(st.floats(lowest, 2e4))
    assume(low < high)
    assume(not integer or math.ceil(low) <= math.floor(high))
    return Param(low, high, scale, integer)


@st.composite
def params_with_value(draw: st.DrawFn) -> tuple[Param, float]:
    param = draw(params())
    return param, param.from_unit(draw(st.floats(0.0, 1.0)))


@given(
    params_with_value(),
    st.floats(0.02, 0.5),
    st.floats(1e-6, 1e3),
    st.sampled_from((-1, 1)),
)
def test_a_step_stays_inside_and_goes_its_way_unless_at_the_bound(
    param_and_value: tuple[Param, float], scale: float, min_delta: float, direction: int
) -> None:
    param, value = param_and_value
    moved = param.perturb(value, scale=scale, min_delta=min_delta, direction=direction)
    assert param.low <= moved <= param.high
    assert type(moved) is (int if param.integer else float)
    if value == param.clip(param.high if direction > 0 else param.low):
        assert moved == value
    else:
        assert (moved - value) * direction > 0


@given(params(), st.floats(-1e6, 1e6))
def test_clip_is_always_inside_and_leaves_alone_what_is(param: Param, value: float) -> None:
    clipped = param.clip(value)
    assert param.low <= clipped <= param.high
    assert param.clip(clipped) == clipped


@given(params(), st.floats(-0.5, 1.5))
def test_the_unit_interval_maps_into_the_range(param: Param, unit: float) -> None:
    value = param.from_unit(unit)
    assert param.low <= value <= param.high
    assert type(value) is (int if param.integer else float)
    assert -1e-12 <= param.to_unit(value) <= 1.0 + 1e-12


def test_two_bounds_with_one_logarithm_are_a_range_of_one_point() -> None:
    low = 100.0
    param = Param(low, math.nextafter(low, 1000.0), scale="log")
    assert math.log(param.low) == math.log(param.high)
    assert param.to_unit(param.high) == 0.0
    assert param.from_unit(0.0) == pytest.approx(low)


@given(params_with_value())
def test_from_unit_inverts_to_unit(param_and_value: tuple[Param, float]) -> None:
    param, value = param_and_value
    there_and_back = param.from_unit(param.to_unit(value))
    if param.integer:
        assert there_and_back == value
    else:
        assert there_and_back == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("param", "middle"),
    [
        (Param(0.0, 10.0), 5.0),
        (Param(1e-4, 1e-2, "log"), 1e-3),
        (Param(-3.0, 1.0), -1.0),
        (Param(1, 16, "log", True), 4),
    ],
)
def test_the_middle_of_the_unit_interval_is_the_mean_of_the_scale(param: Param, middle: float) -> None:
    assert param.from_unit(0.5) == pytest.approx(middle)
    assert param.to_unit(middle) == pytest.approx(0.5)
    assert (param.from_unit(0.0), param.from_unit(1.0)) == pytest.approx((param.low, param.high))


# --- SearchSpace ---


def test_a_pair_stands_for_a_linear_param_and_the_order_is_kept() -> None:
    log = Param(1e-5, 1e-2, "log")
    space = SearchSpace({"b": (0.0, 1.0), "a": log, "c": [1, 2]})  # type: ignore[dict-item]
    assert list(space) == ["b", "a", "c"]
    assert space["b"] == Param(0.0, 1.0)
    assert space["a"] is log
    assert len(space) == 3
    assert SearchSpace(space) == space


@pytest.mark.parametrize("bound", [(1.0,), (1.0, 2.0, 3.0), 5, None, "ab", ("low", "high")])
def test_a_bound_that_is_no_pair_is_refused_by_name(bound: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"param_bounds\['lr'\] must be a Param or a \(low, high\) pair"):
        SearchSpace({"lr": bound})


def test_a_pair_out_of_order_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"param_bounds\['lr'\].*low=2, high=1"):
        SearchSpace({"lr": (2, 1)})


def test_a_misspelt_bound_is_refused_with_the_name_that_was_meant() -> None:
    space = SearchSpace({"learning_rte": (0.0, 1.0)})
    with pytest.raises(HyperparamError, match=r"'learning_rte'.*Did you mean 'learning_rate'\?.*gamma, learning_rate"):
        space.check_names({"learning_rate": 0.1, "gamma": 0.9})


@pytest.mark.parametrize("value", [True, "0.1", None, math.nan, math.inf])
def test_a_bound_for_what_is_not_a_number_is_refused(value: Any) -> None:
    with pytest.raises(HyperparamError, match=r"'lr', but its value .* is not a number"):
        SearchSpace({"lr": (0.0, 1.0)}).check_names({"lr": value})


def test_names_the_agent_has_pass_whatever_else_it_has() -> None:
    assert SearchSpace({"lr": (0.0, 1.0)}).check_names({"lr": np.float32(0.1), "name": "x"}) is None


# --- Hyperparam, HyperparamTable ---

TABLE = HyperparamTable(
    "PPO",
    {
        "learning_rate": Hyperparam(
            default=3e-4, low=0.0, low_open=True, high=1.0, tune=Param(1e-5, 1e-2, "log"), doc="step size"
        ),
        "n_epochs": Hyperparam(default=10, low=1, high=1000, integer=True, doc="passes"),
        "gamma": Hyperparam(default=0.99, low=0.0, high=1.0, doc="discount"),
    },
)


def test_missing_values_take_their_defaults_of_the_right_kind() -> None:
    resolved = TABLE.resolve({})
    assert resolved == {"learning_rate": 3e-4, "n_epochs": 10, "gamma": 0.99}
    assert type(resolved["n_epochs"]) is int


def test_given_values_and_foreign_keys_are_kept() -> None:
    foreign = object()
    resolved = TABLE.resolve({"learning_rate": 0.01, "my_own_key": foreign})
    assert resolved["learning_rate"] == 0.01
    assert resolved["my_own_key"] is foreign
    assert resolved["gamma"] == 0.99


@pytest.mark.parametrize(
    ("name", "meant"), [("learning_rat", "learning_rate"), ("n_epoch", "n_epochs"), ("gama", "gamma")]
)
def test_a_misspelt_key_is_refused_with_the_name_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(HyperparamError, match=rf"'{name}' for PPO\. Did you mean '{meant}'\?.*Known: learning_rate"):
        TABLE.resolve({name: 0.1})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("learning_rate", 0.0, "a number in (0, 1]"),
        ("learning_rate", 1.0001, "a number in (0, 1]"),
        ("learning_rate", -1e-3, "a number in (0, 1]"),
        ("learning_rate", math.nan, "a number in (0, 1]"),
        ("learning_rate", math.inf, "a number in (0, 1]"),
        ("learning_rate", True, "a number in (0, 1]"),
        ("learning_rate", "0.1", "a number in (0, 1]"),
        ("learning_rate", None, "a number in (0, 1]"),
        ("gamma", -0.1, "a number in [0, 1]"),
        ("n_epochs", 2.5, "an integer in [1, 1000]"),
        ("n_epochs", 0, "an integer in [1, 1000]"),
        ("n_epochs", 1001, "an integer in [1, 1000]"),
        ("n_epochs", np.bool_(True), "an integer in [1, 1000]"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_with_owner_key_rule_and_value(
    name: str, value: Any, rule: str
) -> None:
    with pytest.raises(HyperparamError) as error:
        TABLE.resolve({name: value})
    message = str(error.value)
    assert message.startswith(f"PPO: hyper-parameter '{name}' must be {rule}")
    assert message.endswith(f"but got {value!r}.")


@pytest.mark.parametrize(
    ("name", "value", "kept", "kind"),
    [
        ("n_epochs", 4.0, 4, int),
        ("n_epochs", np.float32(4.0), 4, int),
        ("n_epochs", np.int64(1), 1, int),
        ("n_epochs", 1000, 1000, int),
        ("gamma", 1, 1.0, float),
        ("gamma", 0, 0.0, float),
        ("gamma", np.float32(0.5), 0.5, float),
        ("learning_rate", 1.0, 1.0, float),
    ],
)
def test_an_accepted_value_becomes_a_plain_int_or_float(name: str, value: Any, kept: float, kind: type) -> None:
    resolved = TABLE.resolve({name: value})[name]
    assert resolved == kept
    assert type(resolved) is kind


def test_only_rows_with_a_tuning_range_are_tunable() -> None:
    assert dict(TABLE.tunable) == {"learning_rate": Param(1e-5, 1e-2, "log")}


def test_the_table_describes_itself_as_markdown() -> None:
    assert TABLE.describe().splitlines() == [
        "| Key | Default | Accepted | Tuned in | Meaning |",
        "|---|---|---|---|---|",
        "| `learning_rate` | `0.0003` | (0, 1] | [1e-05, 0.01] log | step size |",
        "| `n_epochs` | `10` | [1, 1000] | - | passes |",
        "| `gamma` | `0.99` | [0, 1] | - | discount |",
    ]


@pytest.mark.parametrize(
    ("value", "real"),
    [
        (1, True),
        (0.5, True),
        (np.int8(1), True),
        (np.float16(1), True),
        (True, False),
        (np.bool_(False), False),
        (math.nan, False),
        (-math.inf, False),
        (10**400, False),
        ("1", False),
        (None, False),
        (1j, False),
        (np.ones(1), False),
    ],
)
def test_a_real_number_is_a_finite_int_or_float_of_python_or_numpy(value: Any, real: bool) -> None:
    assert is_real(value) is real


@pytest.mark.parametrize(
    ("measured", "factor"),
    [(0.02, 1.0), (0.01, 1.0), (0.04, 1.0), (0.0025, 2.0), (0.16, 0.5), (0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)],
)
def test_a_signal_corrects_to_the_nearer_end_of_its_range(measured: float, factor: float) -> None:
    assert Signal("kl", 0.01, 0.04, order=2.0).correction({"kl": measured}) == pytest.approx(factor)
    assert Signal("kl", 0.01, 0.04).correction({"other": measured}) == 1.0


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_a_signal_without_a_range_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(InvalidArgumentError, match="0 < low < high"):
        Signal("kl", *bounds)


def test_a_signal_is_for_log_scales() -> None:
    with pytest.raises(InvalidArgumentError, match="scale='log'"):
        Param(0.0, 1.0, signal=Signal("kl", 0.01, 0.04))


# --- whole numbers ---


def test_a_pair_of_whole_bounds_stands_for_whole_numbers_where_the_value_is_an_int() -> None:
    bounds = {
        "batch": (16, 256),
        "rate": (0.1, 2.0),
        "scale": (1, 3),
        "width": Param(1, 9),
        "layers": Param(1, 3, integer=True),
    }
    space = SearchSpace(bounds).fitted({"batch": 64, "rate": 1, "scale": 2.0, "width": 4, "layers": 2})
    assert {name: param.integer for name, param in space.items()} == {
        "batch": True,
        "rate": False,  # bounds that are not whole are meant for what lies between
        "scale": False,
        "width": False,  # a Param says itself what it is
        "layers": True,
    }
    assert list(space) == list(bounds)
    assert space.fitted({"scale": 2})["scale"].integer, "a pair may still be fitted to another agent"
    assert SearchSpace({"flag": (0, 1)}).fitted({"flag": True})["flag"].integer is False


def test_other_ranges_take_the_place_of_some() -> None:
    space = SearchSpace({"a": (1, 2), "b": (3, 4)})
    changed = space.changed({"b": Param(1.0, 9.0, "log"), "c": Param(0, 1)})
    assert list(changed.items()) == [("a", Param(1, 2)), ("b", Param(1.0, 9.0, "log"))]
    assert space["b"] == Param(3, 4)
