"""Components stay thin: a signature, an image and a few lines."""

import ast
import inspect
import json
from pathlib import Path

import pytest

import components
from components import images
from components.train import train
from landtide import cli, learning, steps

FILES = sorted(
    path
    for path in Path(components.__file__).parent.glob("*.py")
    if path.name not in ("__init__.py", "__main__.py", "images.py", "placement.py")
)


def function_of(path: Path) -> ast.FunctionDef:
    [function] = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return function


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_component_is_one_function_with_a_body_of_at_most_six_lines(path: Path) -> None:
    function = function_of(path)
    assert function.name == path.stem
    assert ast.get_docstring(function)
    lines = path.read_text().splitlines()
    body = [line for node in function.body[1:] for line in lines[node.lineno - 1 : node.end_lineno]]
    assert len(body) <= 6, "\n".join(body)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_component_is_typed_and_installs_nothing(path: Path) -> None:
    function = function_of(path)
    assert all(argument.annotation for argument in function.args.args)
    assert function.returns is not None
    [decorator] = function.decorator_list
    assert isinstance(decorator, ast.Call)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
    assert keywords["install_kfp_package"] == "False"
    assert keywords["base_image"] in ("images.STEPS", "images.TRAIN")
    assert "packages_to_install" not in keywords


def test_every_component_calls_a_step_of_the_command_lines_line() -> None:
    called = {
        node.func.attr
        for path in FILES
        for node in ast.walk(function_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "steps"
    }
    by_hand = ast.parse(inspect.getsource(cli._line))
    in_line = {node.attr for node in ast.walk(by_hand) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "steps"}
    assert called - in_line == {"open_run", "clean_up"}, "by hand a run is opened by the command, and leaves no pods"
    assert in_line - called == {"audit"}, "whoever wants it asks for it"


def test_every_other_component_calls_a_step_of_learning() -> None:
    called = {
        node.func.attr
        for path in FILES
        for node in ast.walk(function_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "learning"
    }
    assert called == {name for name, value in vars(learning).items() if hasattr(value, "__wrapped__")}


def test_images_carry_the_version() -> None:
    assert images.STEPS != images.TRAIN
    assert not images.STEPS.endswith("latest")


def test_training_puts_run_and_model_into_each_shards_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "train", lambda study, stage, samples: f"{study}/{stage}/{samples}")
    shards = ['{"a/2020": "x"}', '{"b/2020": "y"}']
    orders = train.python_func(study="s", stage="final", samples="d", cubes=shards, model=str(tmp_path / "model"))
    assert (tmp_path / "model").read_text() == "s/final/d"
    assert [json.loads(order) for order in orders] == [{"study_uri": "s", "model": "s/final/d", "cubes": shard} for shard in shards]


def test_an_order_holds_what_the_step_of_its_loop_takes() -> None:
    for step, keys in ((steps.retrieve, {"study_uri", "shard"}), (steps.classify, {"study_uri", "model", "cubes"})):
        names = list(inspect.signature(step).parameters)
        assert {"study_uri", *names[2:]} == keys
