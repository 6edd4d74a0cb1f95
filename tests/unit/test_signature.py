from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import entry
from omegaconf import OmegaConf

from expkit.errors import PluginError
from expkit.signature import LOADER_OPTIONS, REQUIRED, Computed, describe, summarize

EXPLODES = "raise RuntimeError('this module was imported')\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module and describe what is in it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def do(text: str, name: str = "cube_module", attribute: str = "Cube", kind: str = "model"):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
        for loaded in [m for m in sys.modules if m.partition(".")[0] == name.partition(".")[0]]:
            monkeypatch.delitem(sys.modules, loaded)
        import importlib

        importlib.invalidate_caches()
        return entry(kind, f"{name}:{attribute}")

    return do


def options(announced) -> dict[str, Any]:
    return {option.name: option for option in describe(announced).options}


def test_class_is_described_without_importing_it(write, tmp_path) -> None:
    announced = write(
        EXPLODES
        + '''
class Cube:
    """Make a cube
    of layers (Euclid 300 BC).

    More words.

    Args:
        spec: what the data looks like.
        sides: how many,
            in all.
        rate (float): a share, 0 to 1: lower
            is slower.
    """

    def __init__(self, spec, *, sides: int, rate: float = 0.5, name: str | None = None) -> None:
        pass
'''
    )
    found = describe(announced)
    assert found.summary == "Make a cube of layers (Euclid 300 BC)."
    assert found.source == tmp_path / "cube_module.py" and found.line == 3
    assert [(o.name, o.type, o.type_text, o.default, o.doc) for o in found.options] == [
        ("sides", int, "int", REQUIRED, "how many, in all."),
        ("rate", float, "float", 0.5, "a share, 0 to 1: lower is slower."),
        ("name", str | None, "str | None", None, ""),
    ]
    assert "cube_module" not in sys.modules


def test_function_docs_end_at_the_next_section(write) -> None:
    announced = write(
        '''
def Cube(parameters, learning_rate: float = 0.1, beta: float = 0.9):
    """One.

    Args:
        learning_rate: step size.

        beta: memory.

    Returns:
        beta: not an option.
    """
''',
        kind="optimizer",
    )
    assert {o.name: o.doc for o in describe(announced).options} == {
        "learning_rate": "step size.",
        "beta": "memory.",
    }


def test_docs_of_init_are_read_too(write) -> None:
    announced = write(
        'class Cube:\n    """A."""\n    def __init__(self, a=1):\n        """Make it.\n\n'
        '        Args:\n            a: first.\n        """\n'
    )
    assert options(announced)["a"].doc == "first."


@pytest.mark.parametrize(
    ("annotation", "accepted", "refused"),
    [
        ("int", 3, "x"),
        ("float", 3, "x"),
        ("str", "x", [1]),
        ("bool", True, "x"),
        ("int | None", None, "x"),
        ("Optional[float]", None, "x"),
        ("typing.Optional[float]", 2.5, "x"),
        ("'int | None'", None, "x"),
        ("list[int]", [1, 2], ["x"]),
        ("List[float]", [1, 2.5], ["x"]),
        ("Sequence[str]", ["a"], 5),
        ("tuple[float, ...]", [0.1], ["x"]),
        ("tuple[int, int]", [1, 2], ["x"]),
        ("list[list[int]] | None", [[1]], [["x"]]),
        ("dict[str, float]", {"a": 1.0}, {"a": "x"}),
        ("Literal['same', 'valid']", "same", [1]),
        ("float | int", 3, "x"),
        ("int | str | None", "x", [1]),
        ("Annotated[int, 'pixels']", 3, "x"),
        ("Path | None", "/tmp", [1]),
    ],
)
def test_annotation_becomes_a_type_that_is_checked(write, annotation, accepted, refused) -> None:
    option = options(write(f"def Cube(a: {annotation}): pass\n"))["a"]
    import dataclasses

    config = OmegaConf.structured(dataclasses.make_dataclass("Schema", [("a", option.type)]))
    config.a = accepted
    assert config.a == accepted
    with pytest.raises(ValueError, match=r"(?i)valid|convert|type|list|merge"):
        config.a = refused


@pytest.mark.parametrize("annotation", ["np.ndarray", "int | list[int]", "Callable[[int], int]", "not valid"])
def test_any_other_annotation_is_not_checked(write, annotation) -> None:
    text = f"def Cube(a: {annotation!r} = 1): pass\n"
    assert options(write(text))["a"].type is Any


def test_type_text_has_no_module_names_or_quotes(write) -> None:
    found = options(write("def Cube(a: 'typing.Optional[int]' = 1, b: Literal['x', 'y'] = 'x'): pass\n"))
    assert found["a"].type_text == "Optional[int]"
    assert found["b"].type_text == "Literal['x', 'y']"


def test_none_as_default_makes_a_type_optional_and_a_tuple_a_list(write) -> None:
    found = options(write("def Cube(a: int = None, b: tuple[int, ...] = (1, (2, 3))): pass\n"))
    assert found["a"].type == int | None
    assert found["b"].default == [1, [2, 3]]


def test_re_export_is_followed_without_an_import(write) -> None:
    write(EXPLODES + "class Cube:\n    'Real.'\n    def __init__(self, a=1): pass\n", name="cubes.real")
    announced = write("from .real import Cube as Box\n" + EXPLODES, name="cubes.__init__")
    announced = entry("model", "cubes:Box")
    found = describe(announced)
    assert found.summary == "Real." and found.source.name == "real.py" and found.options[0].name == "a"
    assert "cubes" not in sys.modules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class Base:\n    def __init__(self, a=1): pass\nclass Cube(Base): pass\n", {"a": 1}),
        ("N = 3\ndef Cube(a: int = N * 2): pass\n", {"a": 6}),
        ("def make(n):\n    def inner(a=n): pass\n    return inner\nCube = make(4)\n", {"a": 4}),
        ("def Cube(a=1, *args, b=2, **kwargs): pass\n", {"a": 1, "b": 2}),
        ("if True:\n    def Cube(a=5): pass\nelse:\n    def Cube(b=5): pass\n", {"a": 5}),
        (
            "from dataclasses import dataclass, field\n@dataclass\nclass Cube:\n    a: int = 1\n"
            "    b: list[int] = field(default_factory=lambda: [2])\n",
            {"a": 1, "b": [2]},
        ),
        ("class Cube:\n    def __new__(cls, a=1): return object.__new__(cls)\n", {"a": 1}),
    ],
    ids=[
        "inherited",
        "computed default",
        "made by a call",
        "variadic",
        "conditional",
        "dataclass",
        "__new__",
    ],
)
def test_what_source_cannot_tell_is_found_by_importing(write, text, expected) -> None:
    assert {o.name: o.default for o in describe(write(text)).options} == expected


def test_source_text_stands_for_a_computed_default_where_nothing_may_run(write) -> None:
    announced = write(
        EXPLODES
        + """
class Cube:
    'A.'
    def __init__(self, spec, *, a: int = 2 * BASE, b: float = -0.5, c: str | None = None): ...
"""
    )
    found = {o.name: (o.type, o.default) for o in describe(announced, run=False).options}
    assert found == {"a": (int, Computed("2 * BASE")), "b": (float, -0.5), "c": (str | None, None)}
    assert str(found["a"][1]) == "(computed: 2 * BASE)"
    with pytest.raises(PluginError, match="this module was imported"):
        describe(announced)


def test_inherited_options_keep_their_docs_and_dataclasses_use_attributes(write) -> None:
    announced = write(
        "class Base:\n    '''B.\n\n    Args:\n        a: of base.\n    '''\n"
        "    def __init__(self, a=1): pass\nclass Cube(Base): '''C.'''\n"
    )
    assert describe(announced).summary == "C." and options(announced)["a"].doc == "of base."
    announced = write(
        "from dataclasses import dataclass\n@dataclass\nclass Cube:\n    '''C.\n\n    Attributes:\n"
        "        a: a field.\n    '''\n    a: float = 1\n"
    )
    assert options(announced)["a"].doc == "a field." and options(announced)["a"].type is float


def test_what_the_framework_supplies_is_no_option(write) -> None:
    text = "def Cube(spec, parameters, parts, a=1): pass\n"
    assert list(options(write(text))) == ["parameters", "parts", "a"]
    assert list(options(write(text, kind="optimizer"))) == ["spec", "parts", "a"]


def test_dataset_gets_loader_options_but_its_own_default_wins(write) -> None:
    found = options(write("def Cube(root: str = '', shuffle: bool = False): pass\n", kind="dataset"))
    assert list(found) == ["root", "shuffle", *(o.name for o in LOADER_OPTIONS if o.name != "shuffle")]
    assert found["shuffle"].default is False
    assert found["batch_size"] is LOADER_OPTIONS[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def Cube(:\n", r"model 'cube' of fake-plugins 1.2 .*syntax error in .*cube_module.py:1: .*Correct"),
        ("class Box: pass\n", r"defines no 'Cube'.*entry point"),
        ("import no_such_library\nclass Cube: pass\n", r"imports 'no_such_library', which is not installed"),
        ("x = 1 / 0\nCube = print\n", r"importing it raises ZeroDivisionError: division by zero.*Update"),
        ("try:\n    import no_such_library\nfinally:\n    Cube = 1\n", r"No module named 'no_such_library'"),
        ("Cube = 3\n", r"parameters cannot be read"),
    ],
)
def test_broken_plugin_is_named_with_cause_and_remedy(write, text, message) -> None:
    with pytest.raises(PluginError, match=message):
        describe(write(text))


@pytest.mark.parametrize("target", ["no_such_module:Cube", "json.hopeless:Cube", "json.tool.deeper:Cube"])
def test_missing_module_is_named(target) -> None:
    with pytest.raises(PluginError, match=r"there is no module .*Install fake-plugins again"):
        describe(entry("model", target))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("json.decodr:Cube", r"no module 'json.decodr'\. Did you mean 'json.decoder'.*entry point.*install .* again"),
        ("json.decoder:JSONDecodr", r"defines no 'JSONDecodr'\. Did you mean 'JSONDecoder'.*Correct the entry point"),
        ("json.decoder", r"ends in a module\. Write json.decoder:NAME"),
    ],
)
def test_a_typo_in_an_entry_point_is_told_with_what_was_meant(target, message) -> None:
    with pytest.raises(PluginError, match=message):
        describe(entry("model", target))


def test_summary_never_imports(write) -> None:
    assert summarize(write(EXPLODES + "def Cube(a=f()):\n    'Short.'\n")) == "Short."
    assert summarize(write(EXPLODES + "Cube = make()\n")) == ""
    with pytest.raises(PluginError, match="defines no 'Cube'"):
        summarize(write(EXPLODES + "Box = 1\n"))
