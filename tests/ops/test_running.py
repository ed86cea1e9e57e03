import pytest
import torch

from gfvideo.ops import being_captured, micro_batch_for


def test_a_cpu_takes_few_clips_at_a_time():
    cpu = torch.device('cpu')
    assert micro_batch_for(cpu) == 4
    assert micro_batch_for(cpu, 8 * 48 * 48) == 28  # (T, H, W)
    assert micro_batch_for(cpu, 8 * 96 * 96) == 7
    assert micro_batch_for(cpu, 8 * 224 * 224) == micro_batch_for(cpu, 2**30) == 1
    assert micro_batch_for(torch.device('cuda', 0), 8 * 224 * 224) is None


@pytest.mark.filterwarnings('ignore:.*torch.jit:DeprecationWarning')
def test_a_trace_is_captured_and_a_call_is_not():
    seen = []

    def function(x):
        seen.append(being_captured())
        return x + 1

    function(torch.zeros(2))
    torch.jit.trace(function, torch.zeros(2), check_trace=False)
    assert seen == [False, True]
