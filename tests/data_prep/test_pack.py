"""Clips in shards: the same samples as from files, from a folder and from addresses; whole shards or none."""

from __future__ import annotations

import http.server
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data_prep.folder import main
from gfvideo.data.dataset import ClipDataset
from gfvideo.data.manifest import ManifestError, read_manifest, read_rows, validate
from gfvideo.data.readers import READERS, VideoError, open_video
from gfvideo.data.shards import member_of, read_member, read_shard_list

ROOT = Path(__file__).resolve().parents[2]
STEPS = ['--steps', 'index,verify,transcode,lists', '--name', 'clips', '--max-failed', '0.5']
PIPELINE = [
    dict(type='SampleFrames', num_frames=3, strategy='segment'),
    dict(type='DecodeFrames'),
    dict(type='RandomCrop', size=24),
    dict(type='PackClip'),
]


@pytest.fixture
def videos(tmp_path, clip, lay) -> Path:
    files = {f'train/{name}/{number}.mp4': clip(6 + number) for name in 'ab' for number in range(4)}
    files |= {'val/a/x.y.webm': clip(9, '.webm'), 'val/b/é ü.mp4': clip(7), 'val/b/page.mp4': b'<html>'}
    return lay(tmp_path / 'v', files)


def prepared(videos: Path, out: Path, *flags: str) -> Path:
    status = main(['--videos', str(videos), '--out', str(out), '--workers', '1', *STEPS, *flags])
    assert status == 0
    return out


def samples(root: str | Path, workers: int = 0, split: str = 'train', **options) -> list:
    dataset = ClipDataset(root, split, PIPELINE, seed=3, **options)
    dataset.set_epoch(2)
    order = torch.Generator().manual_seed(1)
    loader = DataLoader(dataset, batch_size=None, shuffle=True, generator=order, num_workers=workers)
    return [(one['data_samples'].video_id, one['data_samples'].gt_label, one['inputs']) for one in loader]


def same(one: list, other: list) -> bool:
    return len(one) == len(other) > 0 and all(
        a[:2] == b[:2] and torch.equal(a[2], b[2]) for a, b in zip(one, other)
    )


@pytest.fixture
def shards(videos, tmp_path, here) -> Path:
    return prepared(videos, tmp_path / 'shards', '--to', 'shards', '--shard-bytes', '0.005')


def test_same_samples_as_from_files(videos, shards, tmp_path, here):
    files = prepared(videos, tmp_path / 'files', '--to', 'video')
    assert not (shards / 'videos').exists() and len(read_shard_list(shards / 'shards')) > 3
    for split in ('train', 'val'):
        expected = samples(files, split=split)
        assert same(samples(shards, split=split), expected)
        assert same(samples(shards, workers=2, split=split), expected), 'forked workers read something else'
    validate(shards, check_files=True)
    rows = read_rows(read_manifest(shards), 'train')
    kept = read_rows(read_manifest(files), 'train')
    assert [row.id for row in rows] == [row.id for row in kept]
    for row, file in zip(rows, kept):
        assert (
            read_member(member_of(str(shards / 'shards' / row.path)))
            == (files / 'videos' / file.path).read_bytes()
        )


def test_form_is_that_of_webdataset(shards):
    manifest, seen = read_manifest(shards), {}
    for shard in read_shard_list(shards / 'shards'):
        with tarfile.open(shards / 'shards' / shard.shard) as tar:
            members = tar.getmembers()
            contents = {member.name: tar.extractfile(member).read() for member in members}
        index = (shards / 'shards' / shard.shard).with_suffix('').with_suffix('.index.jsonl')
        lines = [json.loads(line) for line in index.read_text().splitlines()]
        assert lines == [[member.name, member.offset_data, member.size] for member in members]
        assert sum(name.endswith('.mp4') for name in contents) == shard.clips
        for name, content in contents.items():
            key, suffix = name.split('.')  # what webdataset does: a key ends at the first dot
            seen.setdefault((shard.shard.split('-')[0], key), {})[suffix] = content
    rows = {('train', row.id): row for row in read_rows(manifest, 'train')}
    rows |= {('val', row.id): row for row in read_rows(manifest, 'val')}
    assert len(seen) == len(rows) == 10
    for (split, _), members in seen.items():
        said = json.loads(members['json'])
        row = rows[split, said['id']]
        assert (said['label'], said['frames']) == (row.label, row.frames) and int(members['cls']) == row.label
        assert said['class'] == manifest.classes[row.label]


@pytest.mark.parametrize('reader', READERS)
def test_readers_read_a_member(shards, reader):
    manifest = read_manifest(shards)
    path = str(manifest.videos / read_rows(manifest, 'train')[0].path)
    try:
        opened = open_video(path, reader)
    except ImportError as error:
        pytest.skip(str(error))
    with opened, open_video(path) as reference:
        assert len(opened) == len(reference)
        wanted = [0, 2, 4, 4]
        assert np.array_equal(opened.get_frames(wanted), reference.get_frames(wanted))
        assert all(np.array_equal(*pair) for pair in zip(opened.iter_frames(), reference.iter_frames()))


def test_cut_shard(shards):
    shard = sorted((shards / 'shards').glob('train-*.tar'))[-1]
    path = next(
        row.path for row in read_rows(read_manifest(shards), 'train') if row.path.startswith(shard.name)
    )
    content = shard.read_bytes()
    shard.write_bytes(content[: member_of(path).offset + 100])
    with pytest.raises(ManifestError, match=rf'{shard.name} has \d+ bytes .* cut off'):
        ClipDataset(shards, 'train', PIPELINE)
    with pytest.raises(VideoError, match='100 of .* bytes are there') as caught:
        open_video(str(shards / 'shards' / path))
    assert caught.value.kind == 'truncated'
    shard.unlink()
    with pytest.raises(ManifestError, match='is missing, which shards.json'):
        validate(shards, check_files=True)
    with pytest.raises(VideoError, match='there is no shard') as caught:
        open_video(str(shards / 'shards' / path))
    assert caught.value.kind == 'missing'
    (shards / 'shards' / 'shards.json').unlink()
    with pytest.raises(ManifestError, match='unknown whether the shards are whole'):
        ClipDataset(shards, 'train', PIPELINE)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and 'work' not in path.relative_to(folder).parts
    }


def test_again_and_otherwise(videos, shards, tmp_path, here, caplog):
    before = {path: path.stat().st_mtime_ns for path in (shards / 'shards').iterdir()}
    content = files_in(shards)
    flags = ['--to', 'shards', '--shard-bytes']
    prepared(videos, shards, *flags, '0.005')
    assert files_in(shards) == content, 'the same command made something else'
    tars = [path for path in before if path.suffix == '.tar']
    assert all(path.stat().st_mtime_ns == before[path] for path in tars), 'whole shards were written again'

    # another size, a clip more: from the shards that are there, no clip is encoded again
    encoded = (shards / 'work' / 'transcode' / 'all.jsonl').read_text()
    prepared(videos, shards, *flags, '1')
    assert (shards / 'work' / 'transcode' / 'all.jsonl').read_text() == encoded
    assert [shard.shard for shard in read_shard_list(shards / 'shards')] == [
        'train-000000.tar',
        'val-000000.tar',
    ]
    shutil.copy(videos / 'train/a/0.mp4', videos / 'train/b/new.mp4')
    prepared(videos, shards, *flags, '0.005')
    fresh = prepared(videos, tmp_path / 'fresh', *flags, '0.005')
    assert {name: value for name, value in files_in(shards).items() if '.tar' in name or 'jsonl' in name} == {
        name: value for name, value in files_in(fresh).items() if '.tar' in name or 'jsonl' in name
    }
    # and files of their own again
    prepared(videos, shards, '--to', 'video')
    assert len(samples(shards)) == 9


def test_recheck(videos, shards, here, caplog):
    command = ['--out', str(shards), '--recheck', '--workers', '1']
    content = files_in(shards)
    assert main(command) == 0
    rows = read_rows(read_manifest(shards), 'train')
    member = member_of(str(shards / 'shards' / rows[1].path))
    with open(member.shard, 'r+b') as file:
        file.seek(member.offset + member.size // 2)
        file.write(bytes(40))
    assert main(command) != 0 and '1 of 10 clips are damaged' in caplog.text
    prepared(videos, shards, '--to', 'shards', '--shard-bytes', '0.005')
    assert files_in(shards) == content and main(command) == 0


# ------------------------------------------------------------------------------------------------- addresses


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('GFVIDEO_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and parts of them."""

    asked: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def send_head(self):
        wanted = self.headers.get('Range')
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            return super().send_head()
        first, last = wanted.removeprefix('bytes=').split('-')
        content = path.read_bytes()
        part = content[int(first) : int(last or len(content)) + 1]
        self.asked.append(f'{path.name} {first}')
        self.send_response(206)
        self.send_header('Content-Range', f'bytes {first}-{int(first) + len(part) - 1}/{len(content)}')
        self.send_header('Content-Length', str(len(part)))
        self.end_headers()
        return io.BytesIO(part)


def test_from_memory(shards, cache):
    fsspec = pytest.importorskip('fsspec')
    expected = samples(shards)
    memory = fsspec.filesystem('memory')
    memory.put(str(shards), '/set', recursive=True)
    try:
        assert same(samples('memory://set'), expected)
        assert same(samples('memory://set', workers=2), expected)
        assert len(list(cache.rglob('train.jsonl'))) == 1
        # a description here, the shards there
        described = json.loads((shards / 'dataset.json').read_text())
        described['video_root'] = 'memory://set/shards'
        (shards / 'dataset.json').write_text(json.dumps(described))
        assert same(samples(shards), expected)
        name = next(name for name in memory.ls('/set/shards', detail=False) if name.endswith('.tar'))
        memory.pipe_file(name, memory.cat_file(name)[:-512])
        with pytest.raises(ManifestError, match='cut off or another one'):
            ClipDataset('memory://set', 'train' if 'train' in name else 'val', PIPELINE)
        with pytest.raises(FileNotFoundError):
            ClipDataset('memory://other', 'train', PIPELINE)
    finally:
        memory.rm('/set', recursive=True)


def test_from_a_web_server(shards, cache):
    pytest.importorskip('fsspec')
    pytest.importorskip('aiohttp')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Ranges, directory=str(shards)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        root = f'http://127.0.0.1:{server.server_port}'
        expected = samples(shards)
        assert same(samples(root), expected)
        assert same(samples(root, workers=2), expected)
        assert len(set(Ranges.asked)) == len(expected), 'more, or less, than each clip was fetched'
    finally:
        server.shutdown()


def test_from_a_bucket(shards, cache, monkeypatch):
    pytest.importorskip('s3fs')
    server = pytest.importorskip('moto.server').ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://{host}:{port}')
        for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'):
            monkeypatch.setenv(name, 'testing')
        monkeypatch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
        import fsspec

        bucket = fsspec.filesystem('s3', skip_instance_cache=True)
        bucket.mkdir('clips')
        bucket.put(str(shards), 'clips/set', recursive=True)
        expected = samples(shards)
        assert same(samples('s3://clips/set'), expected)
        assert same(samples('s3://clips/set', workers=2), expected)
        name = next(
            name for name in bucket.ls('clips/set/shards') if 'train-' in name and name.endswith('.tar')
        )
        bucket.pipe_file(name, bucket.cat_file(name)[:-512])
        with pytest.raises(ManifestError, match='cut off or another one'):
            ClipDataset('s3://clips/set', 'train', PIPELINE)
    finally:
        server.stop()


def test_without_fsspec(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(ImportError, match=r'needs fsspec.*pip install "gfvideo\[remote\]"'):
        ClipDataset('gs://set', 'train', PIPELINE)


def test_only_shards_are_read_from_an_address(videos, tmp_path, here, cache):
    fsspec = pytest.importorskip('fsspec')
    files = prepared(videos, tmp_path / 'files', '--to', 'video')
    memory = fsspec.filesystem('memory')
    memory.put(str(files), '/files', recursive=True)
    try:
        with pytest.raises(ManifestError, match='prepare the dataset with --to shards'):
            ClipDataset('memory://files', 'train', PIPELINE)
    finally:
        memory.rm('/files', recursive=True)


# ----------------------------------------------------------------------------------------------------- killed


KILLED_AT = """
import os, sys
from data_prep.folder import main

count, last = 0, int(sys.argv[1])

def hook(event, arguments):
    global count
    if event in ('open', 'os.rename', 'os.remove', 'os.mkdir') and '/shards' in str(arguments[0]):
        count += 1
        if count == last:
            os._exit(9)

sys.addaudithook(hook)
status = main(sys.argv[2:])
print(count)
sys.exit(status)
"""
"""The script, killed without warning at the N-th time that it opens, renames or removes something of the
shards; prints how often it did."""


@pytest.mark.slow
def test_killed_while_packing(videos, tmp_path, here):
    flags = ['--to', 'shards', '--shard-bytes', '0.005', '--workers', '1', *STEPS]
    out = tmp_path / 'cut'
    whole = files_in(prepared(videos, out, *flags[:4]))
    other = tmp_path / 'other'
    prepared(videos, other, '--to', 'shards', '--shard-bytes', '0.008')  # another plan: all is packed again

    def run(last: int) -> subprocess.CompletedProcess:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(other, out)
        return again(last)

    def again(last: int) -> subprocess.CompletedProcess:
        command = [sys.executable, '-c', KILLED_AT, str(last), '--videos', str(videos), '--out', str(out)]
        command += flags
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)

    finished = run(-1)
    assert finished.returncode == 0 and files_in(out) == whole, finished.stderr
    for last in random.Random(3).sample(range(1, int(finished.stdout)), 12):
        assert run(last).returncode == 9
        for path in (out / 'shards').glob('*.tar'):
            of_other = other / 'shards' / path.name
            wanted = [whole.get(f'shards/{path.name}'), of_other.exists() and of_other.read_bytes()]
            assert path.read_bytes() in wanted, f'{path.name} has its name and is not whole'
        assert again(-1).returncode == 0
        assert files_in(out) == whole, f'killed at {last}'
