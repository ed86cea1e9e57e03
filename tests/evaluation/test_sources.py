"""Standard errors of clips that share sources, against the sum over pairs of clips written out."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gfvideo.evaluation import (
    accuracy_standard_error,
    mean_standard_error,
    paired_difference,
    sources_by_pattern,
    sources_of_table,
)

CLIPS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from(['a', 'b', 'c', 'd'])), min_size=1, max_size=20
)


def error_by_pairs(values, sources):
    """Variance of a sum: every pair of clips of one source adds the product of their deviations."""
    values = [Fraction(value) for value in values]  # exact: rounding alone would leave a root of 1e-8
    mean = sum(values) / len(values)
    total = Fraction(0)
    for one, source in zip(values, sources, strict=True):
        for other, its_source in zip(values, sources, strict=True):
            if source == its_source:
                total += (one - mean) * (other - mean)
    return math.sqrt(max(total, 0)) / len(values)


@given(CLIPS)
@example([(False, False, 'a')] * 3 + [(True, False, 'a')] * 2)  # 0, and no rounding of it
def test_the_error_is_that_of_all_pairs_of_one_source(clips):
    right, other, sources = zip(*clips, strict=True)
    assert mean_standard_error(right, sources) == pytest.approx(error_by_pairs(right, sources), abs=1e-9)
    difference = paired_difference(right, other, sources)
    apart = [int(one) - int(two) for one, two in zip(right, other, strict=True)]
    assert difference.mean == pytest.approx(sum(apart) / len(apart))
    assert difference.error == pytest.approx(error_by_pairs(apart, sources), abs=1e-9)


@given(CLIPS)
def test_clips_of_their_own_have_the_plain_errors(clips):
    right, other, _ = zip(*clips, strict=True)
    own = [str(number) for number in range(len(clips))]
    binomial = accuracy_standard_error(sum(right) / len(right), len(right))
    assert mean_standard_error(right) == pytest.approx(binomial)
    assert mean_standard_error(right, own) == pytest.approx(binomial)
    # of paired answers: from the numbers of clips that one alone knows
    ahead = sum(one and not two for one, two in zip(right, other, strict=True))
    behind = sum(two and not one for one, two in zip(right, other, strict=True))
    N = len(clips)
    plain = math.sqrt(max((ahead + behind) / N - ((ahead - behind) / N) ** 2, 0) / N)
    assert paired_difference(right, other).error == pytest.approx(plain, abs=1e-9)
    assert paired_difference(right, other, own).error == pytest.approx(plain, abs=1e-9)


def test_clips_that_repeat_each_other_count_once():
    videos = [1, 0, 1, 1, 0, 1, 1]
    clips, sources = np.repeat(videos, 5), np.repeat(list('abcdefg'), 5)
    assert mean_standard_error(clips, sources) == pytest.approx(accuracy_standard_error(5 / 7, 7))
    assert mean_standard_error(clips) == pytest.approx(accuracy_standard_error(5 / 7, 35))


def test_faults():
    with pytest.raises(ValueError, match='1 or more clips'):
        mean_standard_error([])
    with pytest.raises(ValueError, match='2 sources for 3 clips'):
        mean_standard_error([1, 0, 1], ['a', 'b'])
    with pytest.raises(ValueError, match='same clips'):
        paired_difference([1, 0, 1], [1, 0])


def test_sources_of_a_table(tmp_path):
    table = tmp_path / 'validate.csv'
    table.write_text(
        'label,youtube_id,time_start,time_end,split\nrub,wash-7,0,2,val\nrub,wash-7,2,4,val\nrinse,wash-8,0,2,val\n'
    )
    ids = ['wash-8_000000_000002', 'wash-7_000002_000004', 'wash-7_000000_000002']
    assert sources_of_table(ids, table, 'youtube_id') == ['wash-8', 'wash-7', 'wash-7']
    with pytest.raises(ValueError, match="no column 'scene'; it has label, split"):
        sources_of_table(ids, table, 'scene')
    with pytest.raises(ValueError, match=r"no line of clip 'wash-9' \(1 of 2 are missing\)"):
        sources_of_table([ids[0], 'wash-9'], table, 'youtube_id')
    table.write_text('id,scene\n7,yard\n8,bridge\n')
    assert sources_of_table(['8', '7'], table, 'scene') == ['bridge', 'yard']
    table.write_text('name,scene\n7,yard\n')
    with pytest.raises(ValueError, match='does not say which clip'):
        sources_of_table(['7'], table, 'scene')


def test_sources_by_a_pattern():
    ids = ['wash-7_000000_000002', 'wash-8_000000_000002']
    assert sources_by_pattern(ids, r'(.+)_\d+_\d+$') == ['wash-7', 'wash-8']
    assert sources_by_pattern(ids, r'[^_]+') == ['wash-7', 'wash-8']
    with pytest.raises(ValueError, match="'wash-8_000000_000002' does not match"):
        sources_by_pattern(ids, 'wash-7')
    with pytest.raises(ValueError, match='no regular expression'):
        sources_by_pattern(ids, '(')


def test_sources_of_real_clips(shared):
    folder = shared / 'data' / 'handwash_kinetics'
    ids = [path.stem for path in sorted((folder / 'videos' / 'val').glob('*.mp4'))]
    if not ids:
        pytest.skip(f'{folder} is not here')
    sources = sources_of_table(ids, folder / 'validate.csv', 'youtube_id')
    assert len(sources) == 259 and len(set(sources)) == 31
    assert sources == sources_by_pattern(ids, r'(.+)_\d+_\d+$')
