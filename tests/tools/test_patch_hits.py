"""The tool's figures on a made-up test whose patches are known."""

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/patch_hits.py'


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('patch_hits', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder, centres):
    clips = [dict(video_id='7', frame_indices=[0, 5], frame_size=(40, 60), centres=np.array(centres))]
    (folder / 'predictions.pkl').write_bytes(pickle.dumps(clips))
    (folder / 'objects.csv').write_text('id,frame,x,y,diameter\n7,0,10,10,8\n7,5,50,30,8\n8,0,1,1,8\n')
    return [str(folder / 'predictions.pkl'), str(folder / 'objects.csv'), '--patch-size', '20']


def test_rates(tool, tmp_path, capsys):
    # look 1: top left at both frames, so right at frame 0 alone; look 2: bottom right, right at frame 5 alone
    tool.main(write(tmp_path, [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        'look 1: centre 50.0  whole 50.0  clips 100.0  throughout 0.0  frames 50.0  after a miss 50.0'
        ' (of 2)  near misses 0.0  found 50.0  area 16.7',
        'look 2: centre 50.0  whole 50.0  clips 100.0  throughout 100.0  frames 100.0  after a miss'
        ' 100.0 (of 1)  near misses 0.0  found 100.0  area 33.3',
    ]


def test_rates_of_several_objects(tool, tmp_path, capsys):
    arguments = write(tmp_path, [[[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    (tmp_path / 'objects.csv').write_text(
        'id,frame,object,x,y,diameter\n7,0,fig,10,10,8\n7,0,wheel,50,30,8\n7,5,fig,30,20,8\n'
    )
    tool.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == [
        '  fig: centre 50.0  whole 50.0  frames 50.0',
        '  wheel: centre 0.0  whole 0.0  frames 0.0',
    ]
    assert lines[5:] == [
        '  fig: centre 0.0  whole 0.0  frames 50.0',
        '  wheel: centre 100.0  whole 100.0  frames 100.0',
    ]
    assert 'found 33.3' in lines[1] and 'found 66.7' in lines[4]


def test_places_follow_frames_that_were_resized(tool, tmp_path, capsys):
    arguments = write(tmp_path, [[[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    tool.main(arguments)
    expected = capsys.readouterr().out
    (tmp_path / 'objects.csv').write_text('id,frame,x,y,diameter\n7,0,20,20,16\n7,5,100,60,16\n8,0,1,1,8\n')
    clips = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    clips[0] |= dict(frame_size=(80, 120), input_size=(40, 60))  # of a video twice as large
    (tmp_path / 'predictions.pkl').write_bytes(pickle.dumps(clips))
    tool.main(arguments)
    assert capsys.readouterr().out == expected
    clips[0] |= dict(window_sizes=np.full((2, 2, 2), 30.0))
    (tmp_path / 'predictions.pkl').write_bytes(pickle.dumps(clips))
    with pytest.raises(SystemExit, match='windows of sizes of their own'):
        tool.main(arguments)


def test_predictions_without_centres(tool, tmp_path):
    arguments = write(tmp_path, [[[0, 0], [0, 0]]])
    (tmp_path / 'predictions.pkl').write_bytes(pickle.dumps([dict(video_id='7')]))
    with pytest.raises(SystemExit, match='static recognizer'):
        tool.main(arguments)


def test_a_program_hidden_in_the_predictions_does_not_run(tool, tmp_path):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'),)

    arguments = write(tmp_path, [[[0, 0], [0, 0]]])
    (tmp_path / 'predictions.pkl').write_bytes(pickle.dumps([dict(video_id='7', centres=Program())]))
    with pytest.raises(
        SystemExit, match='PredictionsError: .*predictions.pkl holds .*mkdir.* could run a program'
    ):
        tool.main(arguments)
    assert not (tmp_path / 'ran').exists()


def test_clips_that_lack_something_are_named(tool, tmp_path):
    arguments = write(tmp_path, [[[0, 0], [0, 0]]])
    clips = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    (tmp_path / 'predictions.pkl').write_bytes(
        pickle.dumps([*clips, dict(video_id='8', centres=clips[0]['centres'])])
    )
    with pytest.raises(SystemExit, match='clip 1 has no frame_indices, frame_size'):
        tool.main(arguments)
