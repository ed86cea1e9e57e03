from __future__ import annotations

import errno
import gzip
import io
import os
import random
import re
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.common import archives
from data_prep.common.archives import ArchiveError, Unpacked, find_volumes, unpack

CLIPS = {
    'a.mp4': b'a' * 3000,
    'sub/b.mp4': bytes(range(256)) * 20,
    'sub/c.mp4': random.Random(0).randbytes(5000),
}


def tar_of(clips=CLIPS, mode='w', **special):
    """Bytes of a tar; ``special`` are kinds of members by name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        archive.addfile(folder_info('sub'))
        for name, content in clips.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in special.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, '/etc/passwd'
            archive.addfile(info)
    return stream.getvalue()


def folder_info(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def zip_of(clips=CLIPS, how=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', how) as archive:
        archive.writestr('sub/', b'')
        for name, content in clips.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def taken_out(tmp_path, lay, content):
    """``({file: bytes}) -> ([Unpacked], what came out)`` of the archives in a folder, which is left as it
    was."""

    def take(files: dict[str, bytes], largest: int = 10**6, **options):
        source = lay(tmp_path / 'source', files)
        before = content(source)
        try:
            results = [
                unpack(
                    volume, tmp_path / 'out' / volume.name, tmp_path / 'tmp' / 'member', largest, **options
                )
                for volume in find_volumes([source / name for name in files])
            ]
        finally:
            assert content(source) == before
            if not options:
                # which the run removes
                assert content(tmp_path / 'tmp') == {} or list(content(tmp_path / 'tmp')) == ['member']
        return results, content(tmp_path / 'out')

    return take


def halves(data, count=2):
    step = -(-len(data) // count)
    return [data[at : at + step] for at in range(0, len(data), step)]


TAR, TGZ = tar_of(), tar_of(mode='w:gz')
PARTS = dict(zip(('20bn-x-v2-00', '20bn-x-v2-01', '20bn-x-v2-02'), halves(TGZ, 3)))


@pytest.mark.parametrize(
    ('files', 'name'),
    [
        ({'x.tar': TAR}, 'x'),
        ({'x.tar.gz': TGZ}, 'x'),
        ({'x.tgz': TGZ}, 'x'),
        ({'x.tar.bz2': tar_of(mode='w:bz2')}, 'x'),
        ({'x.tar.xz': tar_of(mode='w:xz')}, 'x'),
        ({'plain.tar.gz': TAR}, 'plain'),
        ({'x.zip': zip_of()}, 'x'),
        ({'x.zip': zip_of(how=zipfile.ZIP_STORED)}, 'x'),
        (PARTS, '20bn-x-v2'),
        (dict(zip(('y.tar.gz.aa', 'y.tar.gz.ab'), halves(TGZ))), 'y'),
        (dict(zip(('y.tar.part01', 'y.tar.part02'), halves(TAR))), 'y'),
        ({f'{name}.zip': zip_of({name: data}) for name, data in PARTS.items()}, '20bn-x-v2'),
        ({'all.zip': zip_of({f'folder/{name}': data for name, data in PARTS.items()})}, '20bn-x-v2'),
    ],
)
def test_forms(taken_out, files, name):
    results, found = taken_out(files)
    assert results == [Unpacked(written=3)]
    assert found == {f'{name}/{path}': data for path, data in CLIPS.items()}
    assert taken_out(files)[0] == [Unpacked(there=3)]


def test_archives_of_one_name_go_to_different_folders(taken_out):
    results, found = taken_out(
        {'train/part_0.tar': tar_of({'a.mp4': b'1'}), 'val/part_0.tar': tar_of({'a.mp4': b'2'})}
    )
    assert found == {'train/part_0/a.mp4': b'1', 'val/part_0/a.mp4': b'2'}


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (
            ('20bn-x-00', '20bn-x-02'),
            'part 02 follows part 00; those between them are missing, download them',
        ),
        (('20bn-x-03', '20bn-x-04'), 'the first part found is 03; the parts before it are missing'),
        (('x.tar.gz.aa', 'x.tar.gz.ac'), 'part ac follows part aa'),
        (('x.zip.00', 'x.zip.01'), 'join them first'),
    ],
)
def test_a_missing_part(taken_out, names, message):
    with pytest.raises(ArchiveError, match=message):
        taken_out({name: b'x' for name in names})


def test_the_last_part_missing(taken_out):
    names = sorted(PARTS)
    with pytest.raises(ArchiveError, match='20bn-x-v2: .*download'):
        taken_out({name: PARTS[name] for name in names[:2]})


@pytest.mark.parametrize('data', [TAR, TGZ, tar_of(mode='w:xz'), tar_of(mode='w:bz2'), zip_of()])
def test_a_cut_off_archive_and_going_on_after_it(taken_out, tmp_path, data):
    suffix = '.zip' if data[:2] == b'PK' else '.tar.gz'
    for size in range(1, len(data) - 10, max(1, len(data) // 12)):
        shutil.rmtree(tmp_path / 'out', ignore_errors=True)
        shutil.rmtree(tmp_path / 'source', ignore_errors=True)
        if data is TAR and len(data.rstrip(b'\0')) < size:
            continue  # what is cut off is padding
        with pytest.raises(ArchiveError, match='download'):
            taken_out({f'x{suffix}': data[:size]})
        partly = {
            path.relative_to(tmp_path / 'out' / 'x').as_posix(): path.read_bytes()
            for path in (tmp_path / 'out').rglob('*.mp4')
        }
        assert partly.items() <= CLIPS.items(), 'a file with its final name is whole'
        results, found = taken_out({f'x{suffix}': data})
        assert results == [Unpacked(written=3 - len(partly), there=len(partly))]
        assert found == {f'x/{path}': content for path, content in CLIPS.items()}


def test_a_plain_tar_cut_off_between_members(taken_out):
    first = 512 + 512 + 3072  # the folder, then a.mp4 and its header
    with pytest.raises(ArchiveError, match='cut off after 1 members.*download it again'):
        taken_out({'x.tar': TAR[:first]})


def test_a_damaged_header_in_the_middle(taken_out):
    damaged = bytearray(TAR)
    damaged[TAR.index(b'sub/c.mp4') + 3] ^= 0xFF
    with pytest.raises(ArchiveError, match='damaged after 2 members .*what was unpacked is removed'):
        taken_out({'x.tar': bytes(damaged)})


@pytest.mark.parametrize(
    ('name', 'data'),
    [
        ('x.tar.gz', TGZ),
        ('x.zip', zip_of()),
        ('x.tar.xz', tar_of(mode='w:xz')),
        ('x.tar.bz2', tar_of(mode='w:bz2')),
    ],
)
@pytest.mark.parametrize('place', [0.2, 0.3, 0.5, 0.7, 0.8, 0.95])
def test_flipped_bits_in_compressed_data(taken_out, tmp_path, name, data, place):
    damaged = bytearray(data)
    damaged[int(len(data) * place)] ^= 0x55
    with pytest.raises(ArchiveError, match='download'):
        taken_out({name: bytes(damaged)})
    for path in (tmp_path / 'out').rglob('*.mp4'):
        assert path.read_bytes() == CLIPS[path.relative_to(tmp_path / 'out' / 'x').as_posix()]
    assert taken_out({name: data})[1] == {f'x/{path}': content for path, content in CLIPS.items()}


@pytest.mark.parametrize(
    'name',
    [
        '/etc/evil.mp4',
        '../evil.mp4',
        'a/../../evil.mp4',
        '..\\evil.mp4',
        'C:\\evil.mp4',
        'c:evil.mp4',
        '\\evil.mp4',
    ],
)
@pytest.mark.parametrize('write', [tar_of, zip_of])
def test_members_that_lead_out(taken_out, tmp_path, name, write):
    with pytest.raises(ArchiveError, match='leads out of the folder'):
        taken_out({'x.tar' if write is tar_of else 'x.zip': write({name: b'evil', **CLIPS})})
    assert not list(tmp_path.rglob('*evil*')) and not os.path.exists('/etc/evil.mp4')
    assert not list((tmp_path / 'out').rglob('*.mp4'))


def test_links_and_devices_are_passed_over(taken_out, tmp_path):
    special = {
        'link.mp4': tarfile.SYMTYPE,
        'hard.mp4': tarfile.LNKTYPE,
        'device.mp4': tarfile.CHRTYPE,
        'pipe.mp4': tarfile.FIFOTYPE,
    }
    results, found = taken_out({'x.tar': tar_of(**special)})
    assert results == [Unpacked(written=3, passed_over=4)]
    assert len(found) == 3
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as out:
        info = zipfile.ZipInfo('link.mp4')
        info.external_attr = 0o120777 << 16
        out.writestr(info, '/etc/passwd')
        out.writestr('a.mp4', b'a')
    assert taken_out({'y.zip': archive.getvalue()})[0] == [Unpacked(written=1, passed_over=1)]
    assert not any(path.is_symlink() for path in tmp_path.rglob('*'))


def test_a_link_that_was_unpacked_is_not_followed(taken_out, tmp_path):
    """A link 'd' -> elsewhere, then a file 'd/x.mp4': the link is no file, so the file goes where its name
    says."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        link = tarfile.TarInfo('d')
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / 'elsewhere')
        archive.addfile(link)
        info = tarfile.TarInfo('d/x.mp4')
        info.size = 1
        archive.addfile(info, io.BytesIO(b'x'))
    (tmp_path / 'elsewhere').mkdir()
    assert taken_out({'x.tar': stream.getvalue()})[1] == {'x/d/x.mp4': b'x'}
    assert not list((tmp_path / 'elsewhere').iterdir())


def test_only_what_is_wanted(taken_out):
    results, found = taken_out(
        {'x.tar': tar_of({**CLIPS, 'run.sh': b'x', '.hidden.mp4': b'x'})},
        wanted=lambda name: re.match(r'[^.].*\.mp4', name),
    )
    assert results == [Unpacked(written=3, passed_over=2)]
    assert len(found) == 3


@pytest.mark.parametrize('data', [TAR, zip_of()])
def test_a_member_larger_than_allowed(taken_out, data):
    with pytest.raises(
        ArchiveError, match=r"member '.*' has 5\d* bytes, more than the 4000 allowed; raise --max-member"
    ):
        taken_out({'x.zip' if data[:2] == b'PK' else 'x.tar': data}, largest=4000)


def test_a_zip_that_lies_about_sizes(taken_out, tmp_path):
    data = zip_of({'bomb.mp4': bytes(10**6)})
    # bytes 22 to 26 of a local header, 24 to 28 of the directory's
    for at, said in ((22, 100), (22, 10**6 + 5)):
        lying = bytearray(data)
        entry = data.rindex(b'PK\1\2')
        local = data.rindex(b'PK\3\4')
        lying[local + at : local + at + 4] = lying[entry + at + 2 : entry + at + 6] = struct.pack('<I', said)
        with pytest.raises(ArchiveError):
            taken_out({'x.zip': bytes(lying)}, largest=2 * 10**6)
        assert not list((tmp_path / 'out').rglob('*.mp4'))
        assert sum(path.stat().st_size for path in (tmp_path / 'tmp').rglob('*')) <= 10**6


def test_what_is_no_archive(taken_out):
    for name, data in (
        ('x.tar', b'<html>'),
        ('x.tar.gz', gzip.compress(b'no tar' * 200)),
        ('x.zip', b'PK\3\4 cut'),
        ('x.tar', b''),
        ('empty.tar', tar_of({})[:0]),
    ):
        with pytest.raises(ArchiveError):
            taken_out({name: data})
    with pytest.raises(ArchiveError, match='holds nothing'):
        taken_out({'x.tar': bytes(10240)})


def test_an_encrypted_zip(taken_out):
    data = bytearray(zip_of({'a.mp4': b'abc'}))
    for mark, at in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
        data[data.rindex(mark) + at] |= 1
    with pytest.raises(ArchiveError, match='encrypted'):
        taken_out({'x.zip': bytes(data)})


# ---- room, bombs, names that no file can have


@pytest.fixture
def free(monkeypatch):
    """Makes so many bytes free, beside those that are always kept."""

    def make(size):
        monkeypatch.setattr(
            shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10**9, 10**9, archives.SPARE + size)
        )

    return make


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (
            TAR,
            (
                r"x: member 'sub/b.mp4' would take 0.0 MiB, and 64.0 MiB are free in .*tmp.*make room there"
                r' and run the same command again'
            ),
        ),
        (TGZ, r"x: member 'sub/b.mp4' would take"),
        (zip_of(), 'x: 3 files to be unpacked would take 0.0 MiB, and 64.0 MiB are free'),
    ],
)
def test_no_room(taken_out, free, tmp_path, data, message):
    suffix = 'zip' if data[:2] == b'PK' else 'tar.gz'
    free(4000)  # for a.mp4 alone
    with pytest.raises(ArchiveError, match=message):
        taken_out({f'x.{suffix}': data})
    assert [path.name for path in (tmp_path / 'out').rglob('*.mp4')] == ([] if suffix == 'zip' else ['a.mp4'])
    free(10**6)
    assert taken_out({f'x.{suffix}': data})[0] == [
        Unpacked(written=3 if suffix == 'zip' else 2, there=0 if suffix == 'zip' else 1)
    ]


def test_room_is_needed_for_what_is_missing_alone(taken_out, free, content, tmp_path):
    found = taken_out({'x.zip': zip_of()})[1]
    (tmp_path / 'out/x/a.mp4').unlink()
    free(4000)
    assert taken_out({'x.zip': zip_of()}) == ([Unpacked(written=1, there=2)], found)
    assert taken_out(
        {'y.zip': zip_of({'a.mp4': b'a', 'large.bin': bytes(9000)})},
        wanted=lambda name: name.endswith('.mp4'),
    )[0] == [Unpacked(written=1, passed_over=1)]


def test_a_zip_that_declares_more_than_the_disk_has(taken_out, tmp_path):
    """Without anything made up: 4 GiB a member, more of them than any disk holds; a few hundred bytes of
    archive."""
    data = bytearray(zip_of({'0.mp4': b'x'}))
    entry = data.rindex(b'PK\1\2')
    directory, end = bytes(data[entry : data.rindex(b'PK\5\6')]), bytearray(data[data.rindex(b'PK\5\6') :])
    directory = directory[:24] + struct.pack('<I', 2**32 - 2) + directory[28:]
    count = 60000  # 240 TiB
    struct.pack_into('<HHI', end, 8, count, count, count * len(directory))
    with pytest.raises(
        ArchiveError,
        match=r'x: 60000 files to be unpacked would take 240,000.0 GiB, and [\d,.]+ [MG]iB are free',
    ):
        taken_out({'x.zip': bytes(data[:entry]) + directory * count + bytes(end)}, largest=2**32)
    assert not list((tmp_path / 'out').rglob('*.mp4'))


def test_a_tar_that_declares_more_than_the_disk_has(taken_out, tmp_path):
    info = tarfile.TarInfo('bomb.mp4')
    info.size = 2**50
    data = TAR[: TAR.index(b'sub/b.mp4')] + info.tobuf() + bytes(10240)
    for name, packed in (('x.tar', data), ('x.tar.gz', gzip.compress(data))):
        with pytest.raises(ArchiveError, match="x: member 'bomb.mp4' would take 1,048,576.0 GiB, and"):
            taken_out({name: packed}, largest=2**51)
        assert [path.name for path in (tmp_path / 'out').rglob('*.mp4')] == ['a.mp4']


@pytest.mark.parametrize(
    'kind', [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
def test_a_header_that_would_fill_the_memory(taken_out, kind):
    info = tarfile.TarInfo('header')
    info.type, info.size = kind, 2**32
    with pytest.raises(ArchiveError, match='a header of 4.0 GiB, which no archive of clips has'):
        taken_out({'x.tar.gz': gzip.compress(info.tobuf() + bytes(10**6))})


LONG = 'n' * 300 + '.mp4'


def test_names_that_no_file_can_have(taken_out):
    clips = {'a.mp4': b'a', LONG: b'b', 'd' * 300 + '/x.mp4': b'c', 'a.mp4/x.mp4': b'd', 'last.mp4': b'e'}
    for name, data in (('x.tar', tar_of(clips)), ('x.zip', zip_of(clips))):
        results, found = taken_out({name: data})
        assert found == {'x/a.mp4': b'a', 'x/last.mp4': b'e'}
        assert [name for name, _ in results[0].refused] == [LONG, 'd' * 300 + '/x.mp4', 'a.mp4/x.mp4']
        assert results[0].refused[0][1] == 'the name is longer than the file system allows'
        assert results[0].refused[2][1] == 'a file stands where the name needs a folder'


def test_a_file_where_a_folder_is(taken_out):
    results, found = taken_out({'x.tar': tar_of({'a.mp4/x.mp4': b'd', 'a.mp4': b'a'})})
    assert found == {'x/a.mp4/x.mp4': b'd'} and results[0].refused == (
        ('a.mp4', 'a folder has that name already'),
    )


def test_a_nul_in_a_name(taken_out):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w', format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo('whole.mp4')
        info.size, info.pax_headers = 1, {'path': 'a\0b.mp4'}
        archive.addfile(info, io.BytesIO(b'x'))
    results, found = taken_out({'x.tar': stream.getvalue()})
    assert found == {} and 'takes no such name' in results[0].refused[0][1]


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.EILSEQ, os.strerror(errno.EILSEQ)),
        OSError(errno.EINVAL, os.strerror(errno.EINVAL)),
        UnicodeEncodeError('ascii', 'ü', 0, 1, 'no such letter'),
    ],
)
def test_names_that_some_file_systems_refuse(taken_out, monkeypatch, error):
    """APFS wants UTF-8; an encoding of the system may lack letters."""
    lstat = os.lstat

    def refusing(path, *args, **kwargs):
        if str(path).endswith('ü.mp4'):
            raise error
        return lstat(path, *args, **kwargs)

    monkeypatch.setattr(archives.os, 'lstat', refusing)
    results, found = taken_out({'x.tar': tar_of({'ü.mp4': b'u', 'v.mp4': b'v'})})
    assert found == {'x/v.mp4': b'v'} and [name for name, _ in results[0].refused] == ['ü.mp4']


def test_names_that_a_disk_does_not_tell_apart(taken_out, tmp_path, monkeypatch):
    clips = {
        'A.mp4': b'1',
        'a.mp4': b'2',
        'b/é.mp4': b'3',
        'b/e\u0301.mp4': b'4',
        'B/c.mp4': b'5',
        'b/d.mp4': b'6',
    }
    (tmp_path / 'Probe').touch()
    if not (tmp_path / 'pROBE').exists():
        assert len(taken_out({'y.tar': tar_of(clips)})[1]) == 6
    monkeypatch.setattr(
        Path, 'exists', lambda path: path.name.lower() in map(str.lower, os.listdir(path.parent))
    )
    results, found = taken_out({'x.tar': tar_of(clips)})
    assert {name: data for name, data in found.items() if name.startswith('x/')} == {
        'x/A.mp4': b'1',
        'x/b/é.mp4': b'3',
        'x/b/d.mp4': b'6',
    }
    assert dict(results[0].refused) == {
        name: f'{first!r} is there already, and this disk does not tell the two names apart'
        for name, first in (('a.mp4', 'A.mp4'), ('b/e\u0301.mp4', 'b/é.mp4'), ('B/c.mp4', 'b'))
    }


@given(
    data=st.sampled_from([TAR, TGZ, zip_of(), PARTS['20bn-x-v2-00']]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(max_examples=150)
def test_whatever_is_damaged_the_error_has_a_name(tmp_path_factory, data, changes):
    folder = tmp_path_factory.mktemp('damaged')
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(data)] = value
    (folder / 'x.zip').write_bytes(damaged)
    try:
        for volume in find_volumes([folder / 'x.zip']):
            unpack(volume, folder / 'out', folder / 'tmp/member', 10**6)
    except ArchiveError as error:
        assert str(error).startswith(('x: ', f'{folder / "x.zip"}: '))
    shutil.rmtree(folder)
