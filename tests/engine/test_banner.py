"""What each kind of stage says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from gfvideo.complexity import recognizer_cost
from gfvideo.engine import expand_stages, load_config
from gfvideo.engine.banner import clip_shape, describe_stage, describe_title
from gfvideo.registry import MODELS

QUICKSTART = Path(__file__).resolve().parents[2] / 'configs' / 'quickstart'


def stages(name: str, **options):
    return expand_stages(load_config(QUICKSTART / f'{name}_toy.py'), {'model.num_classes': 6, **options})


def built(cfg):
    with DefaultScope.overwrite_default_scope('gfvideo'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize(
    'config, number, told',
    [
        (
            'glance-focus_tiny',
            0,
            'the encoders and the classifier learn on patches at random places; the policy is frozen',
        ),
        (
            'glance-focus_tiny',
            1,
            'the policy learns by PPO where patches pay; the encoders and the classifier are frozen',
        ),
        (
            'glance-focus_tiny',
            2,
            'the encoders and the classifier learn on patches where the policy looks; the policy is frozen',
        ),
        (
            'glance-focus_tiny_value-map',
            0,
            'the encoders and the classifier learn on patches at random places and where the policy looks;'
            ' the policy learns beside them what a look at each place is worth',
        ),
        ('tsm_tiny', 0, 'the encoder and the classifier learn on whole frames'),
    ],
)
def test_what_learns(config, number, told):
    cfg = stages(config)[number].cfg
    assert describe_stage(cfg, built(cfg)) == told


def test_other_loops_and_policies():
    cfg = stages('adafocus_tiny')[0].cfg
    told = describe_stage(cfg, built(cfg))
    assert told.endswith('the policy learns by the gradient through its patches')
    assert 'learn on patches at random places and where the policy looks' in told
    cfg = stages('glance-focus_tiny')[0].cfg
    cfg.model.frozen, cfg.train_cfg = (), dict(type='JointLoop', max_epochs=1, policy_interval=3)
    assert describe_stage(cfg, built(cfg)).endswith('by PPO where patches pay, at one batch in 3')
    cfg.model.frozen, cfg.model.train_centres = ('policy', 'glance_encoder'), 'centre'
    assert describe_stage(cfg, built(cfg)) == (
        'the focus encoder and the classifier learn on patches at the centre of the frame; the glance encoder'
        ' and the policy are frozen'
    )


def test_a_map_of_values_that_learns_by_itself():
    cfg = stages('glance-focus_tiny_value-map')[0].cfg
    cfg.train_cfg = dict(type='JointLoop', max_epochs=1, update_epochs=1)
    told = describe_stage(cfg, built(cfg))
    assert told.endswith('beside them what a look at each place is worth, at one batch in 4')
    cfg.model.frozen = 'glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head'
    cfg.train_cfg = dict(type='PolicyLoop', max_epochs=1)
    assert describe_stage(cfg, built(cfg)) == (
        'the policy learns what a look at each place is worth, 4 times from each look; the encoders and the'
        ' classifier are frozen'
    )


def test_titles():
    assert describe_title('policy', 2, 3) == 'stage 2 of 3: policy'
    assert describe_title('', 1, 1) == 'training'


def test_the_shape_of_a_clip_is_what_the_pipeline_says():
    cfg = stages('glance-focus_tiny')[0].cfg
    assert clip_shape(cfg) == (8, 3, 112, 112)
    assert recognizer_cost(built(cfg), clip_shape(cfg))['steps'][-1] > 1e7
    cfg.val_dataloader.dataset.pipeline[2] = dict(type='Resize', short=112)
    assert clip_shape(cfg) is None  # the other side follows the video
    assert clip_shape(dict(train_dataloader=dict(dataset=dict(type='Other')))) is None
