"""Whatever is wrong is told in one readable line; the exit code is not 0, and nothing that was there is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

DEMO: tuple[str, ...] = ("model=tiny_bert", "tracker=none", "task=demo_rte", "training.max_steps=2")
DEMO = (*DEMO, "data.max_train_examples=32", "data.max_eval_examples=16")
OWN = ("task=custom", "task.train_file=good.csv", "task.validation_file=good.csv", "task.text_columns=[a,b]")

MISTAKES = {  # what is typed behind DEMO -> what the line must say
    # an unknown choice
    "task=rtee": "there is no task 'rtee'; did you mean rte?",
    "model=bert_big": "there is no model 'bert_big'",
    "method=hype": "there is no method 'hype'",
    "method=[vanilla,hype_x]": "there is no method 'hype_x'",
    "method=[vanilla,vanilla]": "names vanilla 2 times; name each technique once",
    "method=[hype_n,vanilla]": "vanilla does nothing of its own: name the other techniques without it",
    "recipe=papers": "did you mean paper?",
    "tracker=wand": "did you mean wandb?",
    "-m seed=1,2 task=demo_rte,rtee": "there is no task 'rtee'",
    # a misspelt key
    "modle=tiny_bert": "there is no key 'modle'; did you mean model?",
    "training.learning_rte=1": "did you mean training.learning_rate?",
    "method=hype_n method.hype_n.scal=1": "did you mean method.hype_n.scale?",
    "+foo=1": "there is no key 'foo'",
    "+training.lr=1": "there is no key 'training.lr'",
    "+method.hype=1": "method.hype takes options",
    "seed": "cannot read 'seed'; write key=value",
    "--lr=3": "unrecognized arguments: --lr=3",
    # a wrong type
    "seed=one": "seed: Value 'one'",
    "training.learning_rate=fast": "training.learning_rate: Value 'fast'",
    "training.max_steps=2.5": "training.max_steps: Value '2.5'",
    "training.epochs=[1]": "training.epochs: Value '[1]'",
    "training.packing=1": "training.packing must be one of auto, on, off, not '1'",
    "task.text_columns=sentence1": "task.text_columns",
    "data=3": "data: ",
    "method=3": "must be a string or a list",
    "method=hype_n method.hype_n.scale=much": "method.hype_n.scale must be a number, not 'much'",
    "seed=1,2": "seed=1,2 stands for several runs: add -m",
    "method=vanilla,hype_n": "add -m to run them; a list is written method=[vanilla,hype_n]",
    "-m seed=1,x": "seed: Value 'x' of type 'str' could not be converted to Integer",
    "method=[hype_n,[r_drop]]": "must name techniques, as in method=[hype_n,r_drop]",
    "-m method=[hype_n,[r_drop]],vanilla": "must name techniques",
    "experiment=demo": "experiment=demo stands for several runs: add -m",
    "scope=smoke": "scope=smoke narrows an experiment",
    "--conf own task=cut": "own/task/cut.yaml, line 2: not YAML: expected the node content",
    "--conf own task=cust": "there is no task 'cust'; did you mean",
    "-m scope=smoke": "scope=smoke narrows an experiment",
    "--conf own task=wrong": "task.labels: Invalid value assigned: AnyNode is not a ListConfig, list",
    "-m seed=range(3,1)": "seed=range(3,1) gives no value",
    "-m task=glob(none*)": "task=glob(none*) gives no value",
    "seed=${foo}": "seed: Interpolation key 'foo' not found",
    "seed=${oc.env:NOT_SET}": "Environment variable 'NOT_SET' not found",
    "results_dir=${oc.env:NOT_SET}": "Environment variable 'NOT_SET' not found",
    "-m seed=1,2 results_dir=${oc.env:NOT_SET}": "Environment variable 'NOT_SET' not found",
    "method=hype_n method.r_drop.alpha=1": "method.r_drop.alpha is an option of r_drop, which is not chosen",
    "analysis.probing.epochs=1": "is an option of probing, which is not chosen: analysis=probing",
    "analysis=probing analysis.probing.epoch=1": "did you mean analysis.probing.epochs?",
    "-m experiment=noise analysis.probing.epochs=1": "an option of probing, which is not chosen: analysis=probing",
    "-m method=vanilla,hype_n method.r_drop.alpha=1": "method.r_drop.alpha is an option of r_drop, which is not chosen",
    "method={hype_n:{}}": "method is chosen by name, as in method=NAME",
    "OWN task.train_file=a[1],b.csv": "as 'task.train_file=\"a[1],b.csv\"'",
    # out of range
    "training.learning_rate=-1": "training.learning_rate must be above 0 and at most 1, not -1",
    "training.learning_rate=nan": "training.learning_rate must be a finite number, not nan",
    "training.epochs=1e300": "training.epochs must be above 0 and at most 10000, not 1e+300",
    "training.epochs=inf": "training.epochs must be a finite number, not inf",
    f"training.max_steps={10**400}": "training.max_steps must be at least 1 and at most 10000000, not 1000",
    f"training.batch_size={10**400}": "training.batch_size must be at least 1 and at most 9223372036854775807, not",
    f"training.learning_rate={10**400}": "training.learning_rate: int too large to convert to float",
    f"recipe.training.weight_decay={10**400}": "int too large to convert to float",
    "task.text_columns=[a,{b:c}]": "task.text_columns must be a list of single values, not ['a', {'b': 'c'}]",
    "task.labels=[[a],[b]]": "task.labels must be a list of single values",
    "method=freelb method.freelb.steps=1000000": "method.freelb.steps must be at least 1 and at most 1000",
    "training.batch_size=0": "training.batch_size must be at least 1, not 0",
    "task.source={hub:a/b,folder:x}": "task.source is null and takes no mapping here",
    "training.dropout=1": "training.dropout must be at least 0 and below 1, not 1",
    "training.adam_betas=[0.9,1.0]": "training.adam_betas must be at least 0 and below 1, not 1",
    "training.adam_betas=[0.9]": "training.adam_betas must be two numbers",
    "training.warmup_ratio=1.5": "training.warmup_ratio must be at least 0 and at most 1, not 1.5",
    "training.precision=fp64": "training.precision must be one of fp32, tf32, bf16, fp16, not 'fp64'",
    "data.max_length=1": "data.max_length must be at least 2, not 1",
    "data.subset_seed=-1": "data.subset_seed must be at least 0, not -1",
    "data.subset_seed=tide": "data.subset_seed must be at least 0, or tied, not 'tide'",
    "data.subset_seed=1.5": "data.subset_seed: ",
    "noise_scale=-1": "noise_scale must be at least 0, not -1",
    "seed=-1": "seed must be at least 0 and below 4294967296, not -1",
    "method=hype_n method.hype_n.scale=-1": "method.hype_n.scale must be at least 0, not -1",
    "method=hype_n method.hype_n.layers=[99]": "layers must name some of 0 to ",
    "task.train_split=foo": "there is no split 'foo' in the generator",
    "method=hype_n method.hype_n.layers=foo": "layers must be all, lowest:k, highest:k (k from 1 to 3) or a list",
    "method=top_k method.top_k.k=9": "top_k.k must be at most 3, the layers of this encoder, not 9",
    "method=lnsr method.lnsr.layer=3": "lnsr.layer must be at most 2, the highest of this encoder, not 3",
    "training.warmup_steps=3": "training.warmup_steps=3 is longer than the run of 2 updates",
    "device=meta": "device must be auto, cpu, cuda, cuda:N or mps, not 'meta'",
    "device=tpu": "device must be auto, cpu, cuda, cuda:N or mps, not 'tpu'",
    # what cannot work together
    "training.precision=fp16 device=cpu": "training.precision=fp16 needs a CUDA device",
    "model=tiny_xlnet training.packing=on": "training.packing=on is not available for xlnet",
    "model=tiny_xlnet training.gradient_checkpointing=true": "gradient_checkpointing=true is not available for xlnet",
    "training.epochs=1": "training sets both epochs and max_steps; give one of them",
    "method=[hype_n,no_dropout]": "hype_n and no_dropout cannot be combined",
    "training.gradient_accumulation_steps=99": "into more pieces than it has examples",
    "data.predict_test=true": "task demo_rte names no split to predict in task.test_splits",
    "method=[]": "method must name at least one technique",
    # data
    "OWN task.text_columns=[a,c]": "no column 'c'; there are a, b, label",
    "OWN task.label_column=gold": "no column 'gold'",
    "OWN task.validation_file=unknown.csv": "unknown label 'maybe'; known are no, yes",
    "OWN task.train_file=empty.csv": "no labelled row among 0",
    "OWN task.train_file=nothing.csv": "nothing.csv: not a readable csv file",
    "OWN task.train_file=missing.csv": "missing.csv: no such file",
    "OWN task.train_file=good.docx": "good.docx: cannot read .docx",
    "OWN task.train_file=corrupt.parquet": "corrupt.parquet: not a readable parquet file",
    "OWN task.metric=pearson": "label 'yes' is not a",
    "task=custom": "must be given",
    "task=rte data.root=root": "train.parquet: not a readable parquet file",
    "task=cola data.root=root": "root/cola: no such folder",
    "task=mrpc data.root=root": "no split 'validation'",
    # models
    "model.name_or_path=./empty": "empty is not a model: it has no config.json",
    "model.name_or_path=/nowhere/at/all": "/nowhere/at/all is not a model",
    "model.name_or_path=./bad_json": "bad_json cannot be loaded as a model",
    "model.name_or_path=./no_weights": "no_weights cannot be loaded as a model",
    "model.name_or_path=./cut": "cut cannot be loaded as a model",
    "model.name_or_path=./unfit": "do not fit a bert",
    "data.max_length=257": "data.max_length=257 is more than the 256 positions of this bert",
    "model.name_or_path=./no_tokenizer": "no_tokenizer has no tokenizer, or one without a vocabulary",
    "model.name_or_path=package:a.b": "package:a.b must name one installed package",
    "model.family=brt": "there is no model.family 'brt'",
    # the results folder
    "results_dir=good.csv": "the results folder cannot be written to: Not a directory",
    "results_dir=/proc/hype": "the results folder cannot be written to: No such file or directory: /proc/hype",
    "-m seed=1,2 results_dir=good.csv": "Not a directory: good.csv",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, warm_in: Any) -> Path:
    """A folder with one run that is done, and with everything that the mistakes name."""
    place = tmp_path_factory.mktemp("place")
    assert warm_in(place)(*DEMO, "training.save=last").returncode == 0
    good = pd.DataFrame({"a": ["x y", "z w"] * 20, "b": ["u", "v"] * 20, "label": ["yes", "no"] * 20})
    good.to_csv(place / "good.csv", index=False)
    good.assign(label="maybe").to_csv(place / "unknown.csv", index=False)
    good.iloc[:0].to_csv(place / "empty.csv", index=False)
    (place / "nothing.csv").write_text("")
    for path in ("root/rte/train.parquet", "root/rte/validation.parquet", "corrupt.parquet"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(b"PAR1 and nothing behind it")
    (place / "root/mrpc").mkdir()
    (place / "own/task").mkdir(parents=True)
    (place / "own/task/cut.yaml").write_text("name: [\n")
    (place / "own/task/wrong.yaml").write_text("name: wrong\nlabels: 3\n")
    pairs = {"sentence1": ["a b"], "sentence2": ["c"], "label": [1]}
    pd.DataFrame(pairs).to_parquet(place / "root/mrpc/train.parquet")
    _broken_models(place, next(place.glob("results/runs/*/model")))
    return place


def _broken_models(place: Path, model: Path) -> None:
    (place / "empty").mkdir()
    for name in ("bad_json", "no_weights", "cut", "unfit", "no_tokenizer"):
        shutil.copytree(model, place / name)
    for file in (place / "no_tokenizer").glob("*token*"):
        file.unlink()
    (place / "bad_json/config.json").write_text("{")
    (place / "no_weights/model.safetensors").unlink()
    os.truncate(place / "cut/model.safetensors", 1000)
    config = json.loads((model / "config.json").read_text())
    (place / "unfit/config.json").write_text(json.dumps(config | {"intermediate_size": 48}))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error."""
    assert ended.returncode not in (0, None), ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr) < 700
    return ended.stderr


@pytest.mark.parametrize("typed", ["task.source={hub:a/b,folder:x}", "method=nothing"])
def test_a_plan_says_it_in_the_same_words(typed: str, place: Path, warm_in: Any) -> None:
    run = warm_in(place)(*DEMO, typed)
    planned = warm_in(place)("plan", *DEMO, typed, program="hype_bench.cli")
    assert complaint(planned) == complaint(run)


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(typed: str, place: Path, warm_in: Any) -> None:
    arguments = [word for part in typed.split() for word in (OWN if part == "OWN" else (part,))]
    before, ended = content(place), warm_in(place)(*DEMO, *arguments)
    assert MISTAKES[typed] in complaint(ended)
    after = content(place)
    assert {path: after.get(path) for path in before} == before
    assert not [path for path in after.keys() - before.keys() if path.endswith(("result.json", "multirun.yaml"))]
    if "name_or_path" not in typed and "-m" not in arguments:  # broken weights are found when they are loaded
        assert after == before
        assert ended.returncode == 2


def test_the_line_is_the_same_from_a_shell(command: Any) -> None:
    ended = command(*DEMO, "seed=one")
    assert ended.stderr == "error: seed: Value 'one' of type 'str' could not be converted to Integer\n"
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize(
    ("typed", "ways"),
    [
        (("task=rte",), ("go online once", "HYPE_BENCH_DATA", "task=demo_rte")),
        (("model=bert_base",), ("go online once", "model.name_or_path", "model=minilm")),
        (("model.name_or_path=someone/something",), ("go online once", "model.name_or_path", "model=minilm")),
    ],
)
def test_offline_names_three_ways_out(typed: tuple[str, ...], ways: tuple[str, ...], warm: Any) -> None:
    started = time.monotonic()
    message = complaint(warm(*DEMO, *typed))
    assert time.monotonic() - started < 20
    for way in ways:
        assert way in message
    assert message.count("error") <= 2  # one sentence, no stack of reasons


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("48k")


def test_a_full_disk(small_disk: Path, warm: Any) -> None:
    assert warm(*DEMO, f"results_dir={small_disk}").returncode == 0
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    before = content(small_disk)
    message = complaint(warm(*DEMO, f"results_dir={small_disk}", "seed=2"))
    assert "the results folder cannot be written to: No space left on device" in message
    sweep = warm(*DEMO, f"results_dir={small_disk}", "-m", "seed=1,2,3")
    assert "No space left on device" in complaint(sweep)
    after = content(small_disk)
    assert {path: after.get(path) for path in before} == before
    filler.unlink()
    sweep = warm(*DEMO, f"results_dir={small_disk}", "-m", "seed=1,2")
    assert "2 runs: 1 done now, 1 done before, 0 failed" in sweep.stdout, sweep.stdout + sweep.stderr


def test_a_disk_that_fills_up_while_a_run_goes_on(small_disk: Path, warm: Any) -> None:
    """There is room for the start of the run and none for its end."""
    arguments = (*DEMO, "data.max_eval_examples=400", "training.max_steps=2", f"results_dir={small_disk}")
    (small_disk / "filler").write_bytes(bytes(32 * 1024))
    message = complaint(warm(*arguments))
    assert "cannot be written to: No space left on device" in message
    assert not list(small_disk.glob("runs/*/result.json"))
    assert not list(small_disk.glob("runs/*/.*"))  # no half a file either
    (small_disk / "filler").unlink()
    assert warm(*arguments).stdout.startswith("done: ")


def test_a_read_only_results_folder(small_disk: Path, warm: Any) -> None:
    assert warm(*DEMO, f"results_dir={small_disk}").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = content(small_disk)
    assert "the results folder cannot be written to" in complaint(warm(*DEMO, f"results_dir={small_disk}", "seed=2"))
    assert "Read-only file system" in complaint(warm(*DEMO, f"results_dir={small_disk}", "-m", "seed=2,3"))
    done = warm(*DEMO, f"results_dir={small_disk}")
    assert done.returncode == 0
    assert done.stdout.startswith("done before: tiny_bert demo_rte vanilla seed 1: accuracy ")
    for verb in ("status", "table"):
        assert warm(verb, "--results-dir", str(small_disk), program="hype_bench.cli").returncode == 0
    assert content(small_disk) == before


def test_a_broken_result_is_named_and_kept(warm: Any, tmp_path: Path) -> None:
    """Each is set aside under a name of its own; a record without scores is as broken as half a file."""
    assert warm(*DEMO).returncode == 0
    (result,) = tmp_path.glob("results/runs/*/result.json")
    whole = json.loads(result.read_text())
    pieces = [b"", b'{"status": "done"', b"[]", b"\xff\xfe\x00", b'{"status": "done"}']
    for number, garbage in enumerate(pieces, 1):
        result.write_bytes(garbage)
        if number == 1:
            status = warm("status", program="hype_bench.cli").stdout
            assert "1 broken" in status
            assert "result.json is broken" in status
        ended = warm(*DEMO)
        assert ended.returncode == 0
        kept = "result.broken.json" if number == 1 else f"result.broken-{number}.json"
        warning, line = ended.stdout.splitlines()
        name = result.relative_to(tmp_path)
        assert warning.startswith(f"warning: {name} is broken (")
        assert warning.endswith(f"); it is kept as {kept}, and the run is repeated")
        assert line.startswith("done: tiny_bert demo_rte vanilla seed 1: accuracy ")
        assert (result.parent / kept).read_bytes() == garbage
        assert json.loads(result.read_text())["scores"] == whole["scores"]
    assert (result.parent / "result.broken.json").read_bytes() == pieces[0]
