import base64
import json
import re

import av
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import init_recognizer
from gfvideo.exits import StepExits, StreamExits
from gfvideo.look import (
    LookError,
    main,
    moments_of,
    outputs,
    parse_args,
    videos_in,
    window,
    write_film,
)
from gfvideo.registry import MODELS
from gfvideo.watching import scene_of

CLASSES = ['rising', 'falling', 'standing']
T = 3


def config(shift):
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4, shift=shift)
    pipeline = [
        dict(type='SampleFrames', frames=T, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='CentreCrop', size=48),
        dict(type='PackClip'),
    ]
    return Config(
        dict(
            model=dict(
                type='GlanceFocusRecognizer',
                num_classes=3,
                glance=encoder,
                focus=encoder,
                glance_size=16,
                patch_size=16,
                steps=1,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                classifier=dict(type='RecurrentClassifier', hidden=16),
            ),
            test_dataloader=dict(dataset=dict(type='ClipDataset', root='', split='val', pipeline=pipeline)),
        )
    )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder of a run with a stage."""
    folder = tmp_path_factory.mktemp('run')
    (folder / 'tune').mkdir()
    cfg = config('bidirectional')
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES))
    torch.save(
        dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta), folder / 'tune' / 'epoch_1.pth'
    )
    (folder / 'tune' / 'last_checkpoint').write_text(str(folder / 'tune' / 'epoch_1.pth'))
    return folder


def ended(arguments):
    """The exit status of the command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]


@pytest.mark.parametrize('form', ['mp4', 'gif', 'png', 'svg', 'html'])
def test_every_form_opens_again(run, painted_video, tmp_path, capsys, form):
    out = tmp_path / f'out.{form}'
    more = ['--frames', 2, '--fps', 1] if form == 'gif' else []
    code = ended([painted_video(12), '--checkpoint', run, '--out', out, '--width', 400, *more])
    said = capsys.readouterr().out
    assert code == 0 and said.splitlines()[-1] == str(out) and 'GMACs' in said
    if form == 'mp4':
        assert len(frames_of(out)) == 2 * T + 1 + 6  # glances, looks, the end, which stays for two seconds
        assert frames_of(out)[0].shape[1] == 400
    elif form == 'gif':
        assert len(frames_of(out)) == 2
    elif form == 'png':
        assert cv2.imread(str(out)).shape[1] == 400
    elif form == 'svg':
        assert '<svg' in out.read_text() and '<image' in out.read_text()
    else:
        page = out.read_text()
        film = base64.b64decode(re.search(r'data:video/mp4;base64,([^"]+)', page)[1])
        (tmp_path / 'film.mp4').write_bytes(film)
        assert len(frames_of(tmp_path / 'film.mp4')) == 2 * T + 1 + 6
        assert page.count('<tr>') == 2 * T + 2 and 'Look 1 of 1: frame 3 of 3' in page


def test_a_folder_gives_a_film_each_and_goes_on(run, painted_video, tmp_path, capsys):
    videos, films = tmp_path / 'videos', tmp_path / 'films'
    (videos / 'more').mkdir(parents=True)
    for name, count in (('a.mp4', 6), ('more/a.mp4', 7)):
        (videos / name).write_bytes(painted_video(count).read_bytes())
    (videos / 'bad.mp4').write_text('no video')
    command = [videos, '--checkpoint', run, '--out', films, '--form', 'png', '--width', 300]
    assert ended(command) == 1
    told = capsys.readouterr()
    assert 'bad.mp4 is left out' in told.err and 'look: 3 of 3 videos' in told.err
    made = {path.relative_to(films).as_posix() for path in films.rglob('*.*')}
    assert made == {'a.png', 'more/a.png', 'look.json'}
    # what is there is left alone; what is gone, or was never finished, is made
    before = (films / 'a.png').stat().st_mtime_ns
    (films / 'more' / 'a.png').unlink()
    (videos / 'bad.mp4').unlink()
    assert ended(command) == 0
    assert (films / 'a.png').stat().st_mtime_ns == before and (films / 'more' / 'a.png').exists()
    # and films of other settings are not mixed with them
    assert 'films made with another width' in ended([*command[:-1], 302])
    assert json.loads((films / 'look.json').read_text())['width'] == 300


def test_names_of_films(tmp_path):
    videos = [tmp_path / name for name in ('a.mp4', 'a.webm', 'b/c.avi', 'd')]
    names = outputs(tmp_path, videos, tmp_path / 'out', 'mp4')
    relative = [path.relative_to(tmp_path / 'out').as_posix() for path in names.values()]
    assert relative == ['a.mp4.mp4', 'a.webm.mp4', 'b/c.mp4', 'd.mp4']


def test_what_a_folder_holds(tmp_path):
    with pytest.raises(LookError, match='holds no video'):
        videos_in(tmp_path)
    (tmp_path / 'clip').mkdir()
    (tmp_path / 'clip' / '00001.jpg').touch()
    assert videos_in(tmp_path) == [tmp_path / 'clip']
    assert videos_in(tmp_path / 'clip') == []  # one video, of images
    (tmp_path / 'b.webm').touch()
    (tmp_path / '.hidden.mp4').touch()
    assert videos_in(tmp_path) == [tmp_path / 'b.webm', tmp_path / 'clip']


@pytest.mark.parametrize(
    'arguments, told',
    [
        (['VIDEO'], 'give --out FILE, --show, or both'),
        (['VIDEO', '--out', 'film.avi'], r'end it in .mp4, .gif'),
        (['nowhere.mp4', '--out', 'film.mp4'], 'nowhere.mp4 not found'),
        (['VIDEO', '--out', 'film.mp4', '--width', '401'], '--width 401: give an even number'),
        (['VIDEO', '--out', 'film.mp4', '--window', '0'], '--window 0: give a whole number'),
        (['VIDEO', '--out', 'film.mp4', '--fps', '0'], '--fps 0.0: give a number above 0'),
        (['VIDEO', '--out', 'film.mp4', '--form', 'gif'], '--form is for a folder of videos'),
        (['FOLDER', '--out', 'film.mp4'], 'holds 1 videos: --out is a folder then'),
    ],
)
def test_what_is_asked_wrongly(painted_video, capsys, arguments, told):
    path = painted_video(12)
    if arguments[0] == 'FOLDER' and len(list(path.parent.glob('*.mp4'))) != 1:
        told = told.replace('1 videos', r'\d+ videos')
    known = dict(VIDEO=str(path), FOLDER=str(path.parent))
    with pytest.raises(SystemExit):
        parse_args(['--checkpoint', 'run', *[known.get(word, word) for word in arguments]])
    assert re.search(told, capsys.readouterr().err)


def test_cameras_and_addresses_are_told_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ['--checkpoint', 'run', '--out', 'film.mp4']
    assert parse_args(['0', *common]).source == 0
    assert parse_args(['rtsp://camera/one', *common]).source == 'rtsp://camera/one'
    (tmp_path / '0').touch()
    assert parse_args(['0', *common]).source.name == '0'


def test_the_way_that_suits_the_model():
    torch.manual_seed(0)
    frames = np.random.default_rng(0).integers(0, 255, (7, 48, 48, 3), dtype=np.uint8)
    clips, streams = init_recognizer(config('bidirectional')), init_recognizer(config('causal'))
    status = {
        name: next(iter(moments_of(model, frames, exits, **options))).status
        for name, model, exits, options in (
            ('clip', clips, None, {}),
            ('sliding', clips, None, dict(stride=2)),
            ('every', clips, None, dict(every=2)),
            ('stream', streams, None, {}),
            ('stream with exits', streams, StreamExits((0.0,)), {}),
            ('causal clip', streams, StepExits((2.0,)), {}),
        )
    }
    assert status == {
        'clip': 'Glance: frame 1 of 3',
        'sliding': 'Frames 0 to 2: all 1 looks',
        'every': 'Frames 0 to 4: all 1 looks',
        'stream': 'Frame 1 of 3, 1 looks',
        'stream with exits': 'Frame 1 of 3, the glance was enough',
        'causal clip': 'Glance: frame 1 of 3',
    }
    with pytest.raises(ValueError, match='decides frame by frame, but clips are watched'):
        moments_of(clips, frames, StreamExits((0.0,)))


@pytest.mark.parametrize('endless', [True, False])
def test_ctrl_c_ends_the_film_of_a_camera_and_leaves_none_of_a_file(tmp_path, endless):
    model = init_recognizer(config('bidirectional'))
    frames = np.random.default_rng(0).integers(0, 255, (7, 48, 48, 3), dtype=np.uint8)

    def interrupted():
        yield from list(moments_of(model, frames))[:2]
        raise KeyboardInterrupt

    options = dict(width=300, endless=endless)
    if endless:
        write_film(tmp_path / 'film.mp4', scene_of(model, ''), interrupted(), **options)
        assert len(frames_of(tmp_path / 'film.mp4')) == 2
    else:
        with pytest.raises(KeyboardInterrupt):
            write_film(tmp_path / 'film.mp4', scene_of(model, ''), interrupted(), **options)
        assert not list(tmp_path.iterdir())


def test_a_camera_that_is_not_there(run, tmp_path):
    told = ended(['77', '--checkpoint', run, '--out', tmp_path / 'film.mp4'])
    assert told.startswith('CameraError: camera 77 cannot be opened') and not list(tmp_path.iterdir())


# ---- windows


def test_without_a_screen_a_window_is_refused(run, painted_video, monkeypatch):
    monkeypatch.setattr('sys.platform', 'linux')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    told = ended([painted_video(12), '--checkpoint', run, '--show'])
    assert 'there is no screen here (DISPLAY is not set); write a file with --out' in told


def test_a_window_shows_until_q(monkeypatch):
    monkeypatch.setenv('DISPLAY', ':0')
    shown, keys = [], iter([-1, ord('q')])
    monkeypatch.setattr(cv2, 'namedWindow', lambda *_: None)
    monkeypatch.setattr(cv2, 'imshow', lambda title, picture: shown.append(picture[0, 0].tolist()))
    monkeypatch.setattr(cv2, 'waitKey', lambda ms: next(keys))
    monkeypatch.setattr(cv2, 'getWindowProperty', lambda *_: 1.0)
    monkeypatch.setattr(cv2, 'destroyWindow', lambda title: shown.append(title))
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    with window('a film', 5) as show:
        assert show(red) and not show(red)
    assert shown == [[0, 0, 255], [0, 0, 255], 'a film']  # OpenCV's order of colours


def test_an_opencv_without_windows(monkeypatch):
    def refuse(*_):
        raise cv2.error('The function is not implemented')

    monkeypatch.setenv('DISPLAY', ':0')
    monkeypatch.setattr(cv2, 'namedWindow', refuse)
    with pytest.raises(LookError, match='this OpenCV opens no window'), window('a film', 5):
        pass
