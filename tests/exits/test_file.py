import json
import math
from dataclasses import replace

import pytest

from gfvideo.exits import Calibration, ExitsFileError, Setting, StepExits, StreamExits, read_exits, write_exits

STEPS = Calibration(
    'steps', 'gmacs',
    (Setting(StepExits((0.0, 0.0)), 0.25, dict(gmacs=0.1, ms=2.0), (4, 0, 0)),
     Setting(StepExits((0.1 + 0.2, math.inf), 'margin', 1 / 3), 0.75, dict(gmacs=1 / 3, ms=2.5), (2, 1, 1)),
     Setting(StepExits((math.inf, math.inf)), 1.0, dict(gmacs=1.0, ms=7.0), (0, 0, 4))),
    dict(gmacs=[0.1, 0.5, 1.0], ms=[2.0, 3.0, 7.0]), dict(checkpoint='best.pth', model=dict(name='glance', steps=2), data=None), chosen=1)
STREAM = Calibration(
    'stream', 'ms', (Setting(StreamExits((0.5, math.inf), (0.9, math.inf, 0.0), 'entropy', 2.5), 0.5, dict(ms=3.0), (1, 0, 0, 1)),
                     Setting(StreamExits((math.inf, 0.0), ()), 0.75, dict(ms=4.0), (0, 0, 0, 2))),
    dict(ms=[1.0, 0.5, 0.25]), {}, chosen=0)


@pytest.mark.parametrize('calibration', [STEPS, STREAM])
def test_what_was_written_comes_back_to_the_last_digit(tmp_path, calibration):
    write_exits(tmp_path / 'exits.json', calibration)
    assert read_exits(tmp_path / 'exits.json') == calibration
    assert read_exits(str(tmp_path / 'exits.json')).pick() == calibration.pick()


def test_the_last_setting_is_written_with_its_number(tmp_path):
    write_exits(tmp_path / 'exits.json', replace(STEPS, chosen=-1))
    assert read_exits(tmp_path / 'exits.json') == replace(STEPS, chosen=2)


def test_the_file_is_strict_json_with_null_for_never(tmp_path):
    write_exits(tmp_path / 'exits.json', STEPS)
    content = json.loads((tmp_path / 'exits.json').read_text(), parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    assert content['format'] == 1 and content['source']['checkpoint'] == 'best.pth'
    assert content['sweep'][1]['exits']['thresholds'] == [0.1 + 0.2, None]


def test_only_the_complete_file_is_left(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STREAM)
    write_exits(path, STEPS)                                                  # over the old one
    assert [file.name for file in tmp_path.iterdir()] == ['exits.json'] and read_exits(path) == STEPS


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    with pytest.raises(TypeError):
        write_exits(path, replace(STREAM, source=dict(model=object())))
    assert [file.name for file in tmp_path.iterdir()] == ['exits.json'] and read_exits(path) == STEPS


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no exits at .*none\.json; make them with tools/calibrate\.py CONFIG CHECKPOINT --split'):
        read_exits(tmp_path / 'none.json')
    with pytest.raises(FileNotFoundError):
        read_exits(tmp_path)                                                  # a folder


def without(key):
    return lambda content: {name: value for name, value in content.items() if name != key}


def with_setting(**values):
    return lambda content: content | dict(sweep=[content['sweep'][0] | values])


def setting_without(key):
    return lambda content: content | dict(sweep=[without(key)(content['sweep'][0])], chosen=0)


@pytest.mark.parametrize('change, reason', [
    *[(without(key), f"KeyError: '{key}'") for key in ('format', 'kind', 'unit', 'costs', 'chosen', 'sweep')],
    *[(setting_without(key), f"KeyError: '{key}'") for key in ('exits', 'accuracy', 'costs', 'counts')],
    (lambda content: content | dict(chosen=3), 'chosen is 3 of 3 settings'),
    (lambda content: content | dict(chosen=-1), 'chosen is -1 of 3 settings'),
    *[(lambda content, chosen=chosen: content | dict(chosen=chosen), f'chosen is {chosen} of 3') for chosen in ('best', None, 1.5, True)],
    (lambda content: content | dict(unit='joule'), "of which the unit is 'joule'"),
    (lambda content: content | dict(costs=dict(gmacs=[0.1, 0.5, 1.0])), 'not every setting has the costs'),
    (lambda content: content | dict(kind='stream'), "kind is 'stream', but the exits are"),
    (lambda content: content | dict(sweep=[], chosen=0), 'chosen is 0 of 0 settings'),
    (lambda content: content | dict(sweep=7), 'TypeError'),
    (lambda content: content | dict(sweep=[[0.5]]), 'TypeError'),
    (with_setting(exits=dict(thresholds=[0.5], colour='red')), 'are no exits'),
    (with_setting(exits={}), 'are no exits'),
    (with_setting(exits=[0.5]), 'AttributeError'),
    (with_setting(exits=dict(thresholds=['high'])), 'high'),
    (with_setting(exits=dict(thresholds=[0.5], criterion='best')), "'best' is unknown"),
    (with_setting(exits=dict(thresholds=[0.5], temperature=-1)), 'above 0'),
    (with_setting(exits=dict(thresholds=[math.nan])), 'nan'),
    (with_setting(counts=7), 'TypeError'),
    (lambda content: [content], 'TypeError'),
    (lambda content: 'exits', 'AttributeError'),
    (lambda content: None, 'AttributeError'),
])
def test_a_damaged_file_is_named_with_the_reason_and_the_remedy(tmp_path, change, reason):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ExitsFileError, match='exits.json is no file of exits') as error:
        read_exits(path)
    assert reason in str(error.value) and 'make one with tools/calibrate.py' in str(error.value)


@pytest.mark.parametrize('found', [0, 2, '1', None])
def test_another_format_is_named(tmp_path, found):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(format=found)))
    with pytest.raises(ExitsFileError, match=f'exits.json has format {found}, this version reads 1; calibrate again with tools/'):
        read_exits(path)


@pytest.mark.parametrize('content', [b'', b'{"format": 1', b'thresholds: 0.5', b'\x80\xff\x00checkpoint'])
def test_what_is_no_json_is_no_file_of_exits(tmp_path, content):
    path = tmp_path / 'exits.json'
    path.write_bytes(content)
    with pytest.raises(ExitsFileError, match='exits.json is no file of exits .*make one with'):
        read_exits(path)
    assert issubclass(ExitsFileError, ValueError)
