from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.common.image_names import printf_of, template_of

heads = st.text(st.characters(exclude_categories=['Nd', 'Cs']), max_size=12)


@pytest.mark.parametrize(
    'name, template, printf',
    [
        ('00001.jpg', '{:05d}.jpg', '%05d.jpg'),
        ('img_00001.jpg', 'img_{:05d}.jpg', 'img_%05d.jpg'),
        ('1.JPEG', '{:d}.JPEG', '%d.JPEG'),
        ('12.png', '{:02d}.png', '%02d.png'),
        ('%d{_01.jpg', '%d{{_{:02d}.jpg', '%%d{_%02d.jpg'),
    ],
)
def test_names(name, template, printf):
    assert template_of(name) == template and printf_of(template) == printf


@given(head=heads, number=st.integers(0, 12345), width=st.integers(0, 7))
def test_template_says_the_name_again(head, number, width):
    name = f'{head}{number:0{width}d}.jpg' if width else f'{head}{number}.jpg'
    assert template_of(name).format(number) == name


@given(head=heads, number=st.integers(0, 99), width=st.integers(1, 6))
def test_names_for_ffmpeg(head, number, width):
    name = f'{head}{number:0{width}d}.jpg'
    assert printf_of(template_of(name)) % number == name
