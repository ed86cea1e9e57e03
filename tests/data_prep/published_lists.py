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

WLASL = {
    'WLASL_v0.3.json': json.dumps(
        [
            {
                'gloss': 'book',
                'instances': [
                    {
                        'bbox': [385, 37, 885, 720],
                        'fps': 25,
                        'frame_end': -1,
                        'frame_start': 1,
                        'instance_id': 0,
                        'signer_id': 118,
                        'source': 'aslbrick',
                        'split': 'train',
                        'url': 'http://aslbricks.example/New/ASL-Videos/book.mp4',
                        'variation_id': 0,
                        'video_id': '69241',
                    },
                    {
                        'bbox': [190, 25, 489, 370],
                        'fps': 25,
                        'frame_end': 12,
                        'frame_start': 5,
                        'instance_id': 1,
                        'signer_id': 90,
                        'source': 'aslu',
                        'split': 'val',
                        'url': 'https://www.youtube.com/watch?v=0AbCd_ex0m1',
                        'variation_id': 0,
                        'video_id': '65225',
                    },
                ],
            },
            {
                'gloss': 'drink',
                'instances': [
                    {
                        'bbox': [262, 1, 652, 480],
                        'fps': 25,
                        'frame_end': 30,
                        'frame_start': 21,
                        'instance_id': 0,
                        'signer_id': 110,
                        'source': 'handspeak',
                        'split': 'train',
                        'url': 'https://youtu.be/0AbCd_ex0m1',
                        'variation_id': 0,
                        'video_id': '68011',
                    },
                    {
                        'bbox': [123, 19, 516, 358],
                        'fps': 25,
                        'frame_end': 60,
                        'frame_start': 1,
                        'instance_id': 1,
                        'signer_id': 113,
                        'source': 'asldeafined',
                        'split': 'test',
                        'url': 'https://www.youtube.com/watch?v=0LoSt_ex0m2',
                        'variation_id': 0,
                        'video_id': '68208',
                    },
                ],
            },
        ],
        indent=4,
    ),
    'wlasl_class_list.txt': '\n'.join(
        ['0\tbook', '1\tdrink', *(f'{number}\tsign {number}' for number in range(2, 100))]
    ),
    'nslt_100.json': (
        '{"69241": {"subset": "train", "action": [0, 1, 40]},'
        ' "65225": {"subset": "val", "action": [0, 5, 12]},'
        ' "68011": {"subset": "test", "action": [1, 21, 30]}}'
    ),
}
EPIC_HEAD = (
    'narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,'
    'stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n'
)
EPIC = {
    'EPIC_100_train.csv': EPIC_HEAD
    + "P01_01_0,P01,P01_01,00:00:00.108,00:00:00.20,00:00:00.60,6,16,open door,open,1,door,0,['door'],[0]\n"
    + 'P01_01_1,P01,P01_01,00:00:02.629,00:00:00.80,00:00:01.20,21,31,take plate,take,0,plate,1,'
    + '"[\'plate\', \'cup\']","[1, 2]"\n'
    + "P01_09_0,P01,P01_09,00:00:00.100,00:00:00.00,00:00:01.00,1,60,take cup,take,0,cup,2,['cup'],[2]\n",
    'EPIC_100_validation.csv': EPIC_HEAD
    + "P02_03_0,P02,P02_03,00:00:00.070,00:00:00.04,00:00:00.40,3,9,take plate,take,0,plate,1,['plate'],[1]\n"
    + 'P02_03_1,P02,P02_03,00:00:00.920,00:00:00.40,00:00:00.80,11,20,open plate,open,1,plate,1,'
    + "['plate'],[1]\n",
    'EPIC_100_test_timestamps.csv': (
        'narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,'
        'stop_frame\nP01_11_0,P01,P01_11,00:00:00.000,00:00:00.00,00:00:01.89,1,113\n'
    ),
    'EPIC_100_verb_classes.csv': (
        "id,key,instances,category\n0,take,\"['collect-from', 'fetch', 'take']\",retrieve\n"
        "1,open,\"['open', 'unscrew']\",access\n"
    ),
    'EPIC_100_noun_classes.csv': (
        "id,key,instances,category\n0,door,\"['door', 'fridge:door']\",appliances\n"
        "1,plate,\"['plate']\",crockery\n2,cup,\"['cup', 'mug']\",crockery\n"
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
    encoder = dict(
        type='Encoder',
        backbone=dict(type='TinyCNN', width=16),
        fold_div=4,
        shift='bidirectional' if frames > 1 else None,
    )
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
