"""The work dir of a run stands wherever a tool asks for a checkpoint."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from gfvideo import look
from gfvideo.apis import init_recognizer
from gfvideo.engine import weights_hash

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
# arguments of each, with what the run and the folder for results are put into; and what it writes there
LOOKING = {
    'test.py': ('{config} {run} --work-dir {out}', 'test_results.json'),
    'calibrate.py': ('{config} {run} --split val --out {out}/exits.json', 'exits.json'),
    'look.py': ('{clip} --checkpoint {run} --out {out}/look.png', 'look.png'),
    'convert_checkpoint.py': ('{run} {out}/tsm.pth --to tsm --part glance', None),
    'deployment/export_onnx.py': ('{static_run} {out}', 'export.json'),
    'deployment/publish_checkpoint.py': ('{run} {out}/published.pth', 'published-????????.pth'),
    'deployment/save_pretrained.py': ('{run} {out}/hub', 'hub/config.json'),
    'analysis_tools/controls.py': (
        '{config} {run} --split val --draws 1 --static {static_config}={static_run} --out {out}/c.json',
        'c.json',
    ),
    'analysis_tools/budget_curve.py': (
        '{config} {run} --fit val --judge test --static {static_config}={static_run}'
        ' --control random={run} --stream {config}={run} --out {out}',
        'curves.json',
    ),
    'analysis_tools/confusion_matrix.py': ('{config} {run} --show-path {out}/matrix.png', 'matrix.png'),
    'analysis_tools/hit_signals.py': (
        '{config} {run} {objects} --split test --out {out}/signals.json',
        'signals.json',
    ),
    'analysis_tools/over_frames.py': ('{config} {run} --split val --last 1', None),
    'analysis_tools/benchmark.py': ('exits {config} {run} --split val --limit 2 --rounds 1', None),
    'visualizations/show_focus.py': ('{config} {run} --count 1 --out {out}', 'test0.png'),
}


def told_by(tool: Path) -> str:
    return tool.read_text(encoding='utf-8').partition('def parse_args')[2].partition('\ndef ')[0]


def test_every_tool_with_a_checkpoint_is_tried_here():
    asking = set()
    for tool in sorted(TOOLS.rglob('*.py')):
        source = told_by(tool)
        arguments = re.findall(r"add\w*\(\s*'([a-z]\w*|--\w[\w-]*)'", source)
        if 'checkpoint' in arguments or re.search(
            'metavar=.*CHECKPOINT|checkpoint, or|the checkpoint', source
        ):
            asking.add(tool.relative_to(TOOLS).as_posix())
    asking.add('look.py')  # its arguments are those of gfvideo/look.py
    assert asking == set(LOOKING)


def objects_of(tiny_run, folder: Path) -> Path:
    """A table with an object in the first frame of every clip that is tested."""
    table = folder / 'objects.csv'
    rows = [f'{video_id},0,20,20,8' for video_id in tiny_run.ids]
    table.write_text('\n'.join(['id,frame,x,y,diameter', *rows]) + '\n')
    return table


def main_of(load_tool, tool: str):
    return look.main if tool == 'look.py' else load_tool(tool).main


NEEDED = {
    'deployment/export_onnx.py': ('onnx', 'onnxruntime', 'onnxscript'),
    'deployment/save_pretrained.py': ('safetensors',),
}
SLOW = ('deployment/export_onnx.py', 'analysis_tools/confusion_matrix.py')


@pytest.mark.parametrize(
    'tool', [pytest.param(tool, marks=[pytest.mark.slow] * (tool in SLOW)) for tool in LOOKING]
)
def test_a_work_dir_will_do(tiny_run, load_tool, tmp_path, monkeypatch, capsys, tool):
    for library in NEEDED.get(tool, ()):
        pytest.importorskip(library)
    arguments, written = LOOKING[tool]
    names = {**vars(tiny_run), 'out': tmp_path, 'clip': tiny_run.folder / 'clips' / tiny_run.ids[0]}
    names['objects'] = objects_of(tiny_run, tmp_path)
    given = arguments.format(**names).split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [tool, *given])
    try:
        main_of(load_tool, tool)(given)
    except SystemExit as left:
        # the encoder was read, and has no counterpart there
        assert not left.code or tool == 'convert_checkpoint.py' and 'TinyCNN' in left.code
    if written is not None:
        assert len(list(tmp_path.glob(written))) == 1


def test_it_is_the_last_checkpoint_of_the_last_stage(tiny_run):
    model, expected, other = (
        init_recognizer(None, path) for path in (tiny_run.run, tiny_run.checkpoint, tiny_run.run / 'joint')
    )
    assert weights_hash(model.state_dict()) == weights_hash(expected.state_dict())
    assert weights_hash(model.state_dict()) != weights_hash(other.state_dict())


@pytest.mark.parametrize('tool', LOOKING)
def test_a_folder_without_one_is_told_in_a_line(tiny_run, load_tool, tmp_path, monkeypatch, tool):
    for library in NEEDED.get(tool, ()):
        pytest.importorskip(library)
    empty = tmp_path / 'empty'
    empty.mkdir()
    clip = tiny_run.folder / 'clips' / tiny_run.ids[0]
    names = {**vars(tiny_run), 'out': tmp_path, 'run': empty, 'static_run': empty, 'clip': clip}
    names['objects'] = objects_of(tiny_run, tmp_path)
    given = LOOKING[tool][0].format(**names).split()
    monkeypatch.setattr(sys, 'argv', [tool, *given])
    with pytest.raises(SystemExit) as left, contextlib.redirect_stderr(io.StringIO()):
        main_of(load_tool, tool)(given)
    if tool.endswith('confusion_matrix.py'):
        assert left.value.code == 1  # the test that it starts said it
    else:
        assert re.search(r'empty holds no checkpoint of a run', left.value.code)
        assert '\n' not in left.value.code
