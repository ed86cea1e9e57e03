"""What tests of prepared forms share: lists as they are published, and a first step of training."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gfvideo.engine import load_config
from gfvideo.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[2]
UCF101 = {
    'classInd.txt': '1 ApplyEyeMakeup\n2 ApplyLipstick\n3 YoYo\n',
    'trainlist01.txt': (
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n'
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1\r\n'
        'ApplyLipstick/v_ApplyLipstick_g08_c01.avi 2\r\n'
        'YoYo/v_YoYo_g25_c05.avi 3\r\n'
    ),
    'testlist01.txt': (
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n'
        'ApplyLipstick/v_ApplyLipstick_g01_c01.avi\n'
        'YoYo/v_YoYo_g01_c01.avi\n'
    ),
    'trainlist02.txt': 'YoYo/v_YoYo_g01_c01.avi 3\n',
    'testlist02.txt': 'YoYo/v_YoYo_g25_c05.avi\n',
}
HMDB51 = {
    'brush_hair_test_split1.txt': (
        'April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n'
        'April_09_brush_hair_u_nm_np1_ba_goo_1.avi 2 \n'
        'Haark\xe4mmen_brush_hair_h_cm_np1_le_goo_0.avi 0 \n'
    ),
    'ride_bike_test_split1.txt': (
        '#122_Lance_ride_bike_f_cm_np1_ri_med_0.avi 1 \nOn_the_way_ride_bike_f_cm_np1_ri_med_1.avi 2 \n'
    ),
    'brush_hair_test_split2.txt': 'April_09_brush_hair_u_nm_np1_ba_goo_0.avi 2 \n',
}
DIVING48 = {
    'Diving48_vocab.json': json.dumps(
        [['Back', '15som', '05Twis', 'FREE'], ['Back', 'Dive', 'NoTwis', 'PIKE']], indent=1
    ),
    'Diving48_V2_train.json': json.dumps(
        [
            {'vid_name': '-mm0_0ABCde_00155', 'label': 0, 'start_frame': 0, 'end_frame': 48},
            {'vid_name': '_8V0_0ABCde_00000', 'label': 1, 'start_frame': 0, 'end_frame': 70},
        ],
        indent=1,
    ),
    'Diving48_V2_test.json': json.dumps(
        [{'vid_name': '2x00_0ABCde_00001', 'label': 1, 'start_frame': 0, 'end_frame': 61}]
    ),
}


def written(where: Path, texts: dict[str, str], **changed: str) -> Path:
    """The folder of the files, with some of them changed; keys of ``changed`` are the names up to the dot."""
    where.mkdir(exist_ok=True, parents=True)
    for name, text in texts.items():
        (where / name).write_text(changed.get(name.partition('.')[0], text), encoding='utf-8', newline='')
    return where


def first_step(data: str, out: Path, frames: int = 4, split: str = 'train') -> float:
    """One step of training on the prepared dataset ``out`` by ``configs/_base_/datasets/<data>.py``, with a
    tiny network. Its loss; the weights have changed."""
    torch.manual_seed(0)
    cfg = load_config(ROOT / 'configs' / '_base_' / 'datasets' / f'{data}.py')
    said = cfg.train_dataloader.dataset.to_dict() | dict(root=str(out), split=split)
    for step in said['pipeline']:
        if step['type'] == 'SampleFrames':
            step['frames'] = frames
        if step['type'] == 'Flip':
            step |= dict(prob=0.5)
    clips = DATASETS.build(said)
    batch = [clips[number] for number in range(min(len(clips), 2))]
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=16), fold_div=4)
    model = MODELS.build(
        dict(type='ClipRecognizer', num_classes=len(clips.metainfo['classes']), encoder=encoder, dropout=0.0)
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    packed = {name: [sample[name] for sample in batch] for name in ('inputs', 'data_samples')}
    losses = model(**model.data_preprocessor(packed, training=True), mode='loss')
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    loss.backward()
    optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    return loss.item()
