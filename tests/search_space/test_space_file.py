"""A search-space file's mistakes: one line each, with file and key or line."""

from pathlib import Path

import pytest

from tuner.errors import SpaceError
from tuner.search_space import load_space, parse_space, shipped_spaces, space_schema
from tuner.search_space.loading import parse_scalar

MLP = "network: mlp\nparameters:\n"
OWN = "network: net.py:build\nparameters:\n"


def refusal(text: str) -> str:
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml")
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "learning_rate: {type: float, low: 0, high: 1, log: true}",
            "mine.yaml: parameters.learning_rate.low must be > 0 when log is true, got 0",
        ),
        (
            "width: {type: int, low: 0, high: 8, log: true}",
            "width.low must be > 0 when log is true, got 0",
        ),
        ("depth: {type: int, low: 5, high: 2}", "depth.low must be <= high (2), got 5"),
        ("dropout: {type: float, low: .nan, high: 1}", "dropout.low must be finite, got nan"),
        ("dropout: {type: float, low: 0, high: .inf}", "dropout.high must be finite, got inf"),
        ("dropout: {type: float, low: 0, high: .5, step: 0}", "dropout.step must be > 0, got 0"),
        ("width: {type: int, low: 1, high: 9, step: -2}", "width.step must be > 0, got -2"),
        (
            "learning_rate: {type: float, low: 1, high: 2, step: .1, log: true}",
            "learning_rate.step cannot be combined with log",
        ),
        (
            "width: {type: int, low: 1, high: 9, step: 2, log: true}",
            "width.step cannot be combined with log",
        ),
        ("dropout: {type: float, low: 0, high: .5, step: 1e-9}", "dropout.step is too fine"),
        (
            "dropout: {type: float, low: 0.1, high: .9, step: 0.12345678901234567}",
            "dropout.step has too many digits",
        ),
        ("dropout: {type: float, low: zero, high: 1}", "dropout.low must be a number, got 'zero'"),
        ("depth: {type: int, low: 1.5, high: 2}", "depth.low must be a whole number, got 1.5"),
        ("depth: {type: int, low: true, high: 2}", "depth.low must be a number, got true"),
        ("depth: {type: int, low: 1, high: 2, log: 1}", "depth.log must be true or false, got 1"),
        ("depth: {type: int, low: 1}", "depth.high is missing"),
        ("depth: {type: int, low: 1, hihg: 4}", "depth.hihg is no known key; known: high, "),
        ("depth: {type: int, low: 1, high: 99999999999999999}", "depth.high must lie within"),
        (
            "depth: {type: int, low: 1, hihg: 2, high: 2}",
            "depth.hihg is no known key; known: high,",
        ),
        ("depth: {low: 1, high: 2}", "depth needs a type, one of int, float, categorical"),
        ("depth: {type: flaot, low: 1}", "needs a type, one of float, int, categorical, got 'fl"),
        ("depth: {type: [1], low: 1}", "depth needs a type"),
        ("depth: [1, 2]", "depth must be a number, a string or true/false, got a list"),
        ("depth:", "depth must be a number, a string or true/false, got nothing"),
        ("activation: {type: categorical, choices: []}", "choices must name at least one value"),
        ("batch_norm: {type: categorical, choices: [yes, true]}", "got true twice"),
        ("activation: {type: categorical}", "activation.choices is missing"),
        ("activation: {type: categorical, choices: relu}", "choices must be a list"),
        (
            "batch_size: {type: categorical, choices: [32, 64, 32]}",
            "batch_size.choices must differ from each other, got 32 twice",
        ),
        (
            "activation: {type: categorical, choices: [relu, [tanh]]}",
            "activation.choices[1] must be a number, a string or true/false, got a list",
        ),
        (
            "activation: {type: categorical, choices: [relu, rleu]}",
            "activation.choices must be one of relu, elu,",
        ),
        ("activation: rleu", "activation must be one of relu, elu,"),
        (
            "batch_norm: {type: categorical, choices: [no, ja]}",
            "batch_norm.choices must be true or false, got 'ja'",
        ),
        ("dropuot: 0.1", "dropuot is no parameter of mlp; did you mean dropout? Known: dropout,"),
        ("epochs: 0", "epochs must be >= 1, got 0"),
        ("epochs: {type: categorical, choices: [3, 9]}", "epochs must be a number or a range of"),
        ("patience: {type: float, low: 1, high: 2}", "patience.type must be int for patience"),
        ("dropout: 1.0", "dropout must be < 1, got 1.0"),
        ("dropout: {type: float, low: 0, high: 1}", "dropout.high must be < 1, got 1.0"),
        ("width: {type: int, low: 0, high: 8}", "width.low must be >= 1, got 0"),
        ("depth: {type: int, low: 1, high: 65}", "depth.high must be <= 64, got 65"),
        (
            "batch_size: {type: categorical, choices: [32, 0]}",
            "batch_size.choices must be >= 1, got 0",
        ),
        ("learning_rate: 0", "learning_rate must be > 0, got 0"),
        ("learning_rate: {type: int, low: 1, high: 2}", "learning_rate.type must be float for"),
        ("depth: two", "depth must be a whole number, got 'two'"),
        ("depth: 2.5", "depth must be a whole number, got 2.5"),
        (
            "width: {type: int, low: 1, high: 9, when: {optimiser: sgd}}",
            "width.when.optimiser is no parameter of this space; did you mean optimizer?",
        ),
        (
            "width: {type: int, low: 1, high: 9, when: {optimizer: sgd}}",
            "width.when.optimizer is never 'sgd'; it takes always 'adam'",
        ),
        (
            "depth: {type: int, low: 1, high: 3}\n"
            "  width: {type: int, low: 1, high: 9, when: {depth: [2, 4]}}",
            "width.when.depth is never 4; it takes 1 … 3",
        ),
        ("width: {type: int, low: 1, high: 9, when: {depth: []}}", "depth must name a value"),
        ("width: {type: int, low: 1, high: 9, when: depth}", "width.when must be a mapping"),
        (
            "dropout: {type: float, low: 0, high: .5}\n"
            "  width: {type: int, low: 1, high: 9, when: {dropout: 0.5}}",
            "width.when.dropout is a float range; depend on",
        ),
        (
            "width: {type: int, low: 1, high: 9, repeat: depth}\n"
            "  depth: {type: int, low: 1, high: 2}\n"
            "  dropout: {type: float, low: 0, high: .5, when: {width: 3}}",
            "dropout.when.width has one value a layer",
        ),
        (
            "width: {type: int, low: 1, high: 9, when: {depth: 1}}\n"
            "  depth: {type: int, low: 1, high: 2, when: {width: 1}}",
            "depends on itself: ",
        ),
        ("width: {type: int, low: 1, high: 9, when: {width: 1}}", "on itself: width → width"),
        (
            "depth: {type: int, low: 1, high: 9, repeat: depth}",
            "depth.repeat must name a single int parameter",
        ),
        ("width: {type: int, low: 1, high: 9, repeat: dept}", "width.repeat names 'dept', which"),
        ("width: {type: int, low: 1, high: 9, repeat: optimizer}", "must name a single int param"),
        ("width: {type: int, low: 1, high: 9, repeat: epochs}", "must be depth, got 'epochs'"),
        ("width: {type: int, low: 1, high: 9, repeat: 3}", "width.repeat must be a string"),
        (
            "learning_rate: {type: float, low: 1, high: 9, repeat: depth}",
            "learning_rate.repeat does not fit: there is one learning_rate for all layers",
        ),
        (
            "momentum: {type: float, low: 0, high: .9}",
            "momentum only matters when optimizer is sgd, which this space rules out",
        ),
        (
            "optimizer: {type: categorical, choices: [adam, sgd]}\n"
            "  momentum: {type: float, low: 0, high: .9, when: {optimizer: adam}}",
            "momentum only matters when optimizer is sgd",
        ),
        ("2x: 1", "parameters.'2x' must be a name of letters, digits and _"),
        ("dropuot: 0.1\n  epochs: 0\n  depth: x", "(and 2 more)"),
        ("depth: {type: int, low: x, high: y}", "depth.low must be a number, got 'x' (and 1 more)"),
    ],
)
def test_mistake_in_a_parameter_is_named_by_its_key(line: str, message: str) -> None:
    assert message in refusal(f"{MLP}  {line}\n")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "n: {type: int, low: -1, high: 3}\n  w: {type: int, low: 1, high: 2, repeat: n}",
            "w.repeat needs n to be >= 0, got -1",
        ),
        (
            "n: {type: categorical, choices: [1, 2]}\n  w: {type: int, low: 1, high: 2, repeat: n}",
            "w.repeat must name a single int parameter; n is none",
        ),
        (
            "n: {type: int, low: 1, high: 9007199254740992}\n"
            "  w: {type: int, low: 1, high: 2, repeat: n}",
            "w brings the space above 1000 parameters",
        ),
        (
            "n: 3\n  w: {type: int, low: 1, high: 2, repeat: n}\n  w_2: 1",
            "w_2 and a layer of w are both called w_2",
        ),
        ("epochs: 0", "epochs must be >= 1"),
        ("n: {type: float, low: -1e308, high: 1e308}", "n.high is too far from low"),
        ('name: "a\\0b"', "name must be plain text"),
        ('name: "\\ud800"', "name must be plain text"),
    ],
)
def test_mistake_in_a_network_of_ones_own(lines: str, message: str) -> None:
    assert message in refusal(f"{OWN}  {lines}\n")


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("{dept: 2}", "baselines[0].dept is no parameter of this space; did you mean depth?"),
        ("{depth: 3}", "baselines[0].depth must be in 1 … 2; got 3"),
        ("{depth: one}", "baselines[0].depth must be a number, got 'one'"),
        ("{optimizer: rmsprop}", "baselines[0].optimizer must be one of adam, sgd"),
        ("{momentum: 0.5}", "momentum only matters when optimizer is sgd; name that too"),
        ("{momentum: 0.0}", "momentum only matters when optimizer is sgd; name that too"),
        ("{optimizer: adam, momentum: 0.5}", "momentum only matters when optimizer is sgd, got"),
        ("{epochs: 10}", "epochs is fixed to 27, got 10"),
        ("{batch_norm: true}", "batch_norm is not searched by this space and stays at false"),
        ("{depth: 2, width: [1, 2, 3]}", "width must have one value for each of 2 layers, got 3"),
        ("{width: [1, 2]}", "width is given by layer while depth is left open"),
        ("{depth: 1, width_2: 1}", "width has 1 layers, got a value for layer 2"),
        ("{depth: 1, width: 1, width_1: 1}", "width is given both as a whole and by layer"),
        ("{depth: 1, width: [x]}", "width must be a number, got 'x'"),
        ("{depth: [1]}", "depth must be a number, got a list"),
        ("{depth: {a: 1}}", "depth must be a number, a string or true/false, got a mapping"),
        ("3", "baselines[0] must be a mapping"),
    ],
)
def test_baseline_is_checked_against_the_space(baseline: str, message: str) -> None:
    text = f"""
network: mlp
parameters:
  depth: {{type: int, low: 1, high: 2}}
  width: {{type: int, low: 1, high: 8, repeat: depth}}
  optimizer: {{type: categorical, choices: [adam, sgd]}}
  momentum: {{type: float, low: 0, high: 0.9}}
  epochs: 27
baselines:
  - {baseline}
"""
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml: must be a mapping with network and parameters"),
        ("- 1", "mine.yaml: must be a mapping"),
        ("network: mlp", "mine.yaml: parameters is missing"),
        ("network: mlp\nparamters: {}", "paramters is no known key; known: parameters, "),
        ("parameters: {}", "mine.yaml: network is missing"),
        (
            "network: mpl\nparameters: {}",
            "must be one of mlp, cnn, resnet, rnn, or file.py:function; got",
        ),
        ("network: net.py\nparameters: {}", "or file.py:function; got 'net.py'"),
        ("network: 3\nparameters: {}", "network must be a string"),
        ("network: mlp\nparameters: 3", "parameters must be a mapping"),
        ("network: mlp\nparameters: {}\nbaselines: 3", "baselines must be a list"),
        ("network: mlp\nparametres: {}\nparameters: {}", "parametres is no known key; known: par"),
        ("network: mlp\nparameters:\n\tdepth: 2", "mine.yaml:3: found character '\\t'"),
        ("network: [mlp", "mine.yaml:1: "),
        ("network: mlp\nnetwork: mlp", "mine.yaml:2: the key 'network' appears twice"),
        ("a: &x 1\nb: *x", "mine.yaml:1: anchors and aliases are not taken"),
        ("a: *x", "mine.yaml:1: anchors and aliases are not taken"),
        ("a: !!python/object/apply:os.system [ls]", "mine.yaml:1: tags (!…) are not taken"),
        ("a: !!str 1", "tags (!…) are not taken"),
        ("1: 2", "mine.yaml:1: a key must be a name, got 1"),
        ("[1]: 2", "mine.yaml:1: a key must be a name, got [1]"),
        ("a: 1\n--- \nb: 2", "mine.yaml:2: "),
        ("a: \0", "mine.yaml:1: holds a control character"),
        ('a: "\\UFFFFFFFF"', "mine.yaml: is not valid YAML"),
        ("[" * 5000, "mine.yaml:1: nested too deep"),
        ("a: " + "{a: " * 3000, "mine.yaml:1: nested too deep"),
        ("#" * 200_001, "mine.yaml: is larger than 200 kB"),
        ("network: mlp\nparameters: {epochs: " + "9" * 5000 + "}", "epochs must be a whole number"),
    ],
)
def test_malformed_text_is_refused_with_its_line(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("12", 12),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("null", None),
        ("-.inf", float("-inf")),
        ("relu", "relu"),
    ],
)
def test_scalars_read_as_yaml_1_2(word: str, value: object) -> None:
    read = parse_scalar(word)
    assert read == value
    assert type(read) is type(value)


def test_quoted_numbers_stay_text() -> None:
    space = parse_space(f"{OWN}  a: '12'\n  b: 12\n  c: no\n", "mine.yaml")
    assert (space.parameters["a"], space.parameters["b"], space.parameters["c"]) == ("12", 12, "no")


def test_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbfnetwork: mlp\nparameters: {epochs: 0}\n")
    with pytest.raises(SpaceError, match=r"mine\.yaml: parameters\.epochs must be >= 1"):
        load_space(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"#" * 200_001, "is larger than 200 kB"),
        (None, "cannot be read: No such file"),
    ],
)
def test_unreadable_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpaceError, match=message):
        load_space(str(path))


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="is not a file"):
        load_space(f"{tmp_path}/")


def test_unknown_name_lists_the_shipped_spaces() -> None:
    with pytest.raises(SpaceError, match=r"unknown search space 'mpl'; shipped: mlp.*\./mine"):
        load_space("mpl")


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_shipped_space_loads_with_its_baselines(name: str) -> None:
    space = load_space(name)
    assert space.baselines or space.grid_size()
    for baseline in space.baselines:
        params = space.resolve(space.flatten(baseline))
        assert all(params[key] == value for key, value in baseline.items())


def test_schema_accepts_what_the_parser_accepts() -> None:
    schema = space_schema()
    assert schema["required"] == ["network", "parameters"]
    kinds = schema["$defs"]
    assert kinds["FloatRange"]["required"] == ["type", "low", "high"]
    assert kinds["FloatRange"]["additionalProperties"] is False
