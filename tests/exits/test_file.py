import hashlib
import json
import math
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.exits import (
    Calibration,
    ExitsFileError,
    Setting,
    StepExits,
    StreamExits,
    read_exits,
    write_exits,
)

STEPS = Calibration(
    'steps',
    'gmacs',
    (
        Setting(StepExits((0.0, 0.0)), 0.25, dict(gmacs=0.1, ms=2.0), (4, 0, 0)),
        Setting(
            StepExits((0.1 + 0.2, math.inf), 'margin', 1 / 3), 0.75, dict(gmacs=1 / 3, ms=2.5), (2, 1, 1)
        ),
        Setting(StepExits((math.inf, math.inf)), 1.0, dict(gmacs=1.0, ms=7.0), (0, 0, 4)),
    ),
    dict(gmacs=[0.1, 0.5, 1.0], ms=[2.0, 3.0, 7.0]),
    dict(checkpoint='best.pth', model=dict(name='glance', steps=2), data=None),
    chosen=1,
)
SURE = replace(
    STEPS, sweep=tuple(replace(one, probability=0.25 * (n + 1)) for n, one in enumerate(STEPS.sweep))
)
STREAM = Calibration(
    'stream',
    'ms',
    (
        Setting(
            StreamExits((0.5, math.inf), (0.9, math.inf, 0.0), 'entropy', 2.5),
            0.5,
            dict(ms=3.0),
            (1, 0, 0, 1),
        ),
        Setting(StreamExits((math.inf, 0.0), ()), 0.75, dict(ms=4.0), (0, 0, 0, 2)),
    ),
    dict(ms=[1.0, 0.5, 0.25]),
    {},
    chosen=0,
)


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
    content = json.loads(
        (tmp_path / 'exits.json').read_text(), parse_constant=lambda name: pytest.fail(f'{name} is no JSON')
    )
    assert content['format'] == 1 and content['source']['checkpoint'] == 'best.pth'
    assert content['sweep'][1]['exits']['thresholds'] == [0.1 + 0.2, None]


def test_only_the_complete_file_is_left(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STREAM)
    write_exits(path, STEPS)  # over the old one
    assert [file.name for file in tmp_path.iterdir()] == ['exits.json'] and read_exits(path) == STEPS


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    with pytest.raises(TypeError):
        write_exits(path, replace(STREAM, source=dict(model=object())))
    assert [file.name for file in tmp_path.iterdir()] == ['exits.json'] and read_exits(path) == STEPS


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r'no exits at .*none\.json; make them with tools/calibrate\.py CONFIG CHECKPOINT --split',
    ):
        read_exits(tmp_path / 'none.json')
    with pytest.raises(FileNotFoundError):
        read_exits(tmp_path)  # a folder


# ------------------------------------------------------------------------------------------- what was changed


def change(path, place, value, hashed=False):
    """Set (or with DELETE remove) one field of the file; ``hashed`` makes the hash right again."""
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if value is DELETE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    if hashed:
        content['hash'] = hash_of(content)
    path.write_text(json.dumps(content))


DELETE = object()


def hash_of(content):
    text = json.dumps(
        {key: value for key, value in content.items() if key != 'hash'}, sort_keys=True, separators=(',', ':')
    )
    return hashlib.sha256(text.encode()).hexdigest()


def places(value, place=()):
    """Where every value of a JSON document stands, inner and outer ones."""
    if place:
        yield place
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*place, key))


def test_the_hash_is_of_all_else_whatever_the_form(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    content = json.loads(path.read_text())
    assert content['hash'] == hash_of(content)
    path.write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert read_exits(path) == STEPS


def test_a_file_without_a_hash_is_read_with_one_warning(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    change(path, ['hash'], DELETE)
    with pytest.warns(UserWarning, match='exits.json has no hash of its content.*calibrate again') as caught:
        assert read_exits(path) == STEPS
    assert len(caught) == 1


numbers = st.floats(0, 1e3, allow_nan=False).map(lambda value: round(value, 3))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
hostile = json_values | st.sampled_from(
    [
        10**400,
        -(10**30),
        math.nan,
        math.inf,
        -math.inf,
        [0.5] * 10_000,
        {'a': {'b': {}}},
        [[[]]],
        '',
        'max_prob',
    ]
)


@settings(max_examples=300)
@given(st.data(), st.sampled_from([STEPS, STREAM, SURE]))
def test_any_edit_is_refused(tmp_path_factory, data, calibration):
    path = tmp_path_factory.getbasetemp() / 'edited_exits.json'
    write_exits(path, calibration)
    before = json.loads(path.read_text())
    place = data.draw(st.sampled_from([place for place in places(before) if place != ('hash',)]))
    value = data.draw(hostile | st.just(DELETE))
    change(path, place, value)
    if json.loads(path.read_text()) == before and repr(json.loads(path.read_text())) == repr(before):
        return  # the same value again
    with pytest.raises(ExitsFileError, match='edited_exits.json'):
        read_exits(path)


@settings(max_examples=300)
@given(st.data(), st.sampled_from([STEPS, STREAM, SURE]), st.booleans())
def test_hostile_values_are_an_exits_file_error_or_are_sound(tmp_path_factory, data, calibration, hashed):
    path = tmp_path_factory.getbasetemp() / 'hostile_exits.json'
    write_exits(path, calibration)
    content = json.loads(path.read_text())
    place = data.draw(st.sampled_from([place for place in places(content) if place != ('hash',)]))
    change(path, place, data.draw(hostile | st.just(DELETE)), hashed)
    if not hashed:
        change(path, ['hash'], DELETE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = read_exits(path)
    except ExitsFileError as error:
        assert (
            'hostile_exits.json' in str(error)
            and 'tools/calibrate.py' in str(error)
            and len(str(error)) < 1200
        )
    else:
        write_exits(path, found)  # what is taken is a calibration
        assert read_exits(path) == found


@st.composite
def calibrations(draw):
    stream, steps, clips = draw(st.booleans()), draw(st.integers(0, 3)), draw(st.integers(0, 9))
    frames = draw(st.integers(1, 4)) if stream else steps + 1
    units = draw(st.lists(st.sampled_from(['gmacs', 'ms', 'joule']), min_size=1, max_size=3, unique=True))
    thresholds = st.floats(0, 1) | st.just(math.inf)
    size = draw(st.integers(1, 4))
    costs, accuracies = (
        sorted(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size, unique=True))) for _ in range(2)
    )
    if draw(st.booleans()):
        probabilities = sorted(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size, unique=True)))
        accuracies = sorted(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))  # or equal
    else:
        probabilities = [None] * size
    sweep = []
    for cost, accuracy, probability in zip(costs, accuracies, probabilities):
        common = (draw(st.sampled_from(['max_prob', 'entropy', 'margin'])), draw(st.floats(0.05, 20)))
        looks = tuple(draw(st.lists(thresholds, min_size=steps, max_size=steps)))
        stop = tuple(draw(st.lists(thresholds, max_size=frames - 1)))
        ends = [
            0,
            *sorted(draw(st.lists(st.integers(0, clips), min_size=frames - 1, max_size=frames - 1))),
            clips,
        ]
        sweep.append(
            Setting(
                StreamExits(looks, stop, *common) if stream else StepExits(looks, *common),
                accuracy,
                {unit: cost for unit in units},
                tuple(after - before for before, after in zip(ends, ends[1:])),
                probability,
            )
        )
    return Calibration(
        'stream' if stream else 'steps',
        units[0],
        tuple(sweep),
        {unit: draw(st.lists(numbers, min_size=steps + 1, max_size=steps + 1)) for unit in units},
        draw(
            st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=2).filter(
                lambda source: not {'model', 'data'} & set(source)
            )
        ),
        draw(st.integers(0, size - 1)),
    )


@settings(max_examples=150)
@given(calibrations())
def test_every_calibration_comes_back(tmp_path_factory, calibration):
    path = tmp_path_factory.getbasetemp() / 'any_exits.json'
    write_exits(path, calibration)
    assert read_exits(path) == calibration


# ------------------------------------------------------------------------------------------------ every field

FIRST = ('sweep', 0)


@pytest.mark.parametrize(
    'place, value, told',
    [
        *[
            ((key,), DELETE, f'{key} is missing')
            for key in ('kind', 'unit', 'costs', 'chosen', 'sweep', 'source')
        ],
        *[
            ((*FIRST, key), DELETE, f'sweep[0].{key} is missing')
            for key in ('exits', 'accuracy', 'costs', 'counts')
        ],
        *[
            ((*FIRST, 'exits', key), DELETE, f'sweep[0].exits.{key} is missing')
            for key in ('thresholds', 'criterion', 'temperature')
        ],
        (('colour',), 'red', 'colour is unknown; the fields are format, kind'),
        (
            (*FIRST, 'exits', 'colour'),
            'red',
            'sweep[0].exits.colour is unknown; the fields are thresholds, criterion, temperature',
        ),
        *[
            (('chosen',), chosen, f'chosen is {chosen!r}, but must be the number of a setting, 0 to 2')
            for chosen in (3, -1, 'best', None, 1.5, True)
        ],
        (('unit',), 'joule', "unit is 'joule', but must be one of the costs gmacs, ms"),
        (('unit',), ['ms'], "unit is ['ms'], but"),
        (('kind',), 'frames', "kind is 'frames', but must be 'steps' or 'stream'"),
        (('kind',), 'stream', 'sweep[0].exits.enough is missing'),
        (('kind',), ['steps'], "kind is ['steps'], but"),
        (('source',), 'a network', "source is 'a network', but must be an object"),
        (('source', 'model'), ['glance'], "source.model is ['glance'], but must be an object or null"),
        (('costs',), [1, 2], 'costs is [1, 2], but must be an object'),
        (('costs',), {}, 'costs is {}, but'),
        (('costs',), dict(gmacs=[0.1, 0.5, 1.0]), 'sweep[0].costs.ms is unknown; the fields are gmacs'),
        (('costs', 'ms'), [2.0, 3.0], 'costs.ms is [2.0, 3.0], but must be 3 numbers, as in costs.gmacs'),
        (('costs', 'ms'), {}, 'costs.ms is {}, but must be a list'),
        *[
            (('costs', 'ms', 1), value, f'costs.ms[1] is {value!r}, but must be a number of 0 or more')
            for value in (-0.5, '3', None, True, [3], {})
        ],
        *[
            (
                (*FIRST, 'costs', 'ms'),
                value,
                f'sweep[0].costs.ms is {value!r}, but must be a number of 0 or more',
            )
            for value in (-0.5, '3', None, True, [3], {})
        ],
        ((*FIRST, 'costs'), [1], 'sweep[0].costs is [1], but must be an object'),
        (('sweep',), [], 'sweep is [], but must be a list of settings'),
        (('sweep',), 7, 'sweep is 7, but must be a list of settings'),
        (('sweep', 0), [0.5], 'sweep[0] is [0.5], but must be an object'),
        *[
            ((*FIRST, 'accuracy'), value, f'sweep[0].accuracy is {value!r}, but must be a number from 0 to 1')
            for value in (-0.1, 1.01, 97, '0.5', None, True, [0.5])
        ],
        (
            ('sweep', 1, 'accuracy'),
            0.25,
            'sweep[1].accuracy is 0.25, but must be above 0.25, that of the cheaper setting before',
        ),
        (
            ('sweep', 1, 'costs', 'gmacs'),
            0.1,
            'sweep[1].costs.gmacs is 0.1, but must be above 0.1, that of the setting before: cheapest',
        ),
        ((*FIRST, 'counts'), 7, 'sweep[0].counts is 7, but must be a list'),
        ((*FIRST, 'counts'), [4, 0], 'sweep[0].counts is [4, 0], but must be 3 numbers, one after each step'),
        (('sweep', 2, 'counts'), [0, 0, 5], 'sweep[2].counts is [0, 0, 5], but must be of 4 clips'),
        *[
            ((*FIRST, 'counts', 0), value, f'sweep[0].counts[0] is {value!r}, but must be a number of clips')
            for value in (-1, 1.5, '4', None, True, [])
        ],
        ((*FIRST, 'exits'), [0.5], 'sweep[0].exits is [0.5], but must be an object'),
        ((*FIRST, 'exits', 'thresholds'), 0.5, 'sweep[0].exits.thresholds is 0.5, but must be a list'),
        (
            (*FIRST, 'exits', 'thresholds'),
            [0.5],
            'sweep[0].exits.thresholds is [0.5], but must be 2 thresholds',
        ),
        *[
            (
                (*FIRST, 'exits', 'thresholds', 1),
                value,
                f'sweep[0].exits.thresholds[1] is {value!r}, but must be a number, or null',
            )
            for value in ('high', True, [0.5], {})
        ],
        *[
            (
                (*FIRST, 'exits', 'criterion'),
                value,
                f"sweep[0].exits.criterion is {value!r}, but must be 'max_prob' or 'entropy' or 'margin'",
            )
            for value in ('best', None, ['max_prob'])
        ],
        *[
            (
                (*FIRST, 'exits', 'temperature'),
                value,
                f'sweep[0].exits.temperature is {value!r}, but must be a number above 0',
            )
            for value in (0, -1.5, None, '1', True)
        ],
    ],
)
def test_a_field_that_cannot_be_is_named_with_its_value(tmp_path, place, value, told):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    change(path, place, value, hashed=True)
    with pytest.raises(ExitsFileError) as error:
        read_exits(path)
    assert str(error.value).startswith(
        f'{path}: {told}'
    ) and 'calibrate again with tools/calibrate.py' in str(error.value)


@pytest.mark.parametrize(
    'place, value, told',
    [
        *[
            (
                (*FIRST, 'probability'),
                value,
                f'sweep[0].probability is {value!r}, but must be a number from 0 to 1',
            )
            for value in (-0.1, 1.01, '0.5', None, True)
        ],
        (('sweep', 1, 'probability'), DELETE, 'but must be with a probability, or all without'),
        (('sweep', 1, 'accuracy'), 0.2, None),  # less accurate, but surer
        (('sweep', 2, 'probability'), 0.3, None),  # less sure, but more accurate
    ],
)
def test_probabilities_in_a_file(tmp_path, place, value, told):
    path = tmp_path / 'exits.json'
    write_exits(path, SURE)
    assert read_exits(path) == SURE
    change(path, place, value, hashed=True)
    if told is None:
        assert getattr(read_exits(path).sweep[place[1]], place[2]) == value
        return
    with pytest.raises(ExitsFileError) as error:
        read_exits(path)
    assert told in str(error.value)


def test_a_dearer_setting_must_be_more_accurate_or_surer(tmp_path):
    path = tmp_path / 'exits.json'
    write_exits(path, SURE)
    change(path, ('sweep', 1, 'accuracy'), 0.25, hashed=True)
    change(path, ('sweep', 1, 'probability'), 0.25, hashed=True)
    with pytest.raises(
        ExitsFileError, match='sweep.1..accuracy is 0.25, but must be above 0.25.* or its probability above'
    ):
        read_exits(path)


@pytest.mark.parametrize(
    'place, value, told',
    [
        (
            ('sweep', 0, 'exits', 'stop'),
            [0.5] * 4,
            'sweep[0].exits.stop is [0.5, 0.5, 0.5, 0.5], but must be 3 thresholds or fewer',
        ),
        (('sweep', 1, 'exits', 'enough'), [], 'sweep[1].exits.enough is [], but must be 2 thresholds'),
        (('sweep', 1, 'exits', 'stop', 0), 'never', None),
    ],
)
def test_fields_of_streams(tmp_path, place, value, told):
    path = tmp_path / 'exits.json'
    write_exits(path, STREAM)
    if told is None:
        change(path, place[:-1], [value], hashed=True)
        told = "sweep[1].exits.stop[0] is 'never', but must be a number"
    else:
        change(path, place, value, hashed=True)
    with pytest.raises(ExitsFileError) as error:
        read_exits(path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    'text, told',
    [
        ('[1, 2]', 'no object with a format'),
        ('"exits"', 'no object'),
        ('null', 'no object'),
        ('{}', 'no object with a format'),
        ('{"format": 1, "unit": NaN}', 'NaN is no JSON'),
        ('{"format": Infinity}', 'Infinity is no JSON'),
        ('[' * 100_000, 'RecursionError'),
        ('9' * 5000, 'ValueError'),
    ],
)
def test_other_json_is_no_file_of_exits(tmp_path, text, told):
    (tmp_path / 'exits.json').write_text(text)
    with pytest.raises(ExitsFileError, match='exits.json is no file of exits.*calibrate again') as error:
        read_exits(tmp_path / 'exits.json')
    assert told in str(error.value)


@pytest.mark.parametrize(
    'calibration, told',
    [
        (replace(STEPS, sweep=()), 'sweep is []'),
        (replace(STEPS, sweep=STEPS.sweep[::-1]), 'cheapest first'),
        (replace(STEPS, unit='joule'), "unit is 'joule'"),
        (replace(STEPS, costs=dict(gmacs=[math.nan] * 3)), 'NaN is no JSON'),
        (replace(STEPS, sweep=(replace(STEPS.sweep[0], accuracy=7.0),)), 'accuracy is 7.0'),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, calibration, told):
    with pytest.raises(ExitsFileError) as error:
        write_exits(tmp_path / 'exits.json', calibration)
    assert told in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize('found', [0, 2, '1', None])
def test_another_format_is_named(tmp_path, found):
    path = tmp_path / 'exits.json'
    write_exits(path, STEPS)
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(format=found)))
    with pytest.raises(
        ExitsFileError,
        match=f'exits.json has format {found!r}, this version reads 1; calibrate again with tools/',
    ):
        read_exits(path)


@pytest.mark.parametrize('content', [b'', b'{"format": 1', b'thresholds: 0.5', b'\x80\xff\x00checkpoint'])
def test_what_is_no_json_is_no_file_of_exits(tmp_path, content):
    path = tmp_path / 'exits.json'
    path.write_bytes(content)
    with pytest.raises(ExitsFileError, match='exits.json is no file of exits .*calibrate again with'):
        read_exits(path)
    assert issubclass(ExitsFileError, ValueError)
