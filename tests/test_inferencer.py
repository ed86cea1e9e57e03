import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import inference_recognizer, init_recognizer
from gfvideo.inferencer import GlanceFocusInferencer

FRAMES = np.random.default_rng(0).integers(0, 255, (12, 32, 48, 3), dtype=np.uint8)
CLASSES = ['rising', 'falling', 'standing']


def config():
    encoder = dict(
        type='Encoder',
        backbone=dict(type='TinyCNN', width=8),
        map_stride=4,
    )
    pipeline = [
        dict(type='SampleFrames', frames=4, test_mode=True),
        dict(type='DecodeFrames'),
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
                steps=2,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                classifier=dict(type='RecurrentClassifier', hidden=16),
            ),
            test_dataloader=dict(dataset=dict(type='ClipDataset', root='', split='val', pipeline=pipeline)),
        )
    )


def test_the_inferencer_of_mmengine(tmp_path):
    torch.manual_seed(0)
    model = init_recognizer(config())
    path = tmp_path / 'run' / 'epoch_1.pth'
    path.parent.mkdir()
    meta = dict(cfg=config().pretty_text, dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    inferencer = GlanceFocusInferencer(weights=path.parent, device='cpu')
    answer = inferencer([FRAMES, FRAMES[:6]], return_vis=True, out_dir=tmp_path / 'out', width=400)
    assert sorted(file.name for file in (tmp_path / 'out').iterdir()) == ['frames.png', 'frames_2.png']
    assert [picture.shape[1] for picture in answer['visualization']] == [400, 400]
    expected = inference_recognizer(model, FRAMES).logits.softmax(-1)
    first = answer['predictions'][0]
    np.testing.assert_allclose(first['scores'], expected, rtol=1e-5)
    assert first['label'] == int(expected.argmax()) and first['score'] == max(first['scores'])
    assert first['name'] == CLASSES[first['label']] and first['looks'] == 2
    samples = inferencer(FRAMES, return_datasamples=True)
    assert samples['visualization'] is None and samples['predictions'][0].logits.shape == (3,)
    with pytest.raises(ValueError, match='unknown argument'):
        inferencer(FRAMES, nonsense=1)
