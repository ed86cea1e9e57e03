import pytest
import torch
from torch import nn

from gfvideo.models import ConcatClassifier, RecurrentClassifier, SumClassifier


def test_recurrent_equals_torch_gru():
    torch.manual_seed(0)
    classifier = RecurrentClassifier(6, 6, num_classes=4, steps=2, hidden=5)
    gru = nn.GRU(6, 5, batch_first=True)
    gru.load_state_dict({f'{name}_l0': value for name, value in classifier.gru.state_dict().items()})
    looks = torch.randn(3, 2, 3, 6)  # (B, T, S+1, F)
    evidence = None
    for step in range(3):
        logits, evidence = classifier(looks[:, :, step], evidence, step)
        states, _ = gru(looks.flatten(0, 1)[:, : step + 1])  # (B*T, step+1, 5)
        assert torch.allclose(logits, classifier.fc(states[:, -1]).view(3, 2, 4), atol=1e-6)


def test_recurrent_projects_looks_of_other_width():
    classifier = RecurrentClassifier(6, 8, num_classes=4, steps=1, hidden=5)
    logits, evidence = classifier(torch.randn(2, 3, 6), None, 0)
    logits, evidence = classifier(torch.randn(2, 3, 8), evidence, 1)
    assert logits.shape == (2, 3, 4) and evidence.shape == (2, 3, 5)


def test_concat_equals_one_linear_per_number_of_looks():
    torch.manual_seed(0)
    classifier = ConcatClassifier(6, 8, num_classes=4, steps=2)
    glance, first, second = torch.randn(2, 3, 6), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    _, evidence = classifier(glance, None, 0)
    _, evidence = classifier(first, evidence, 1)
    logits, _ = classifier(second, evidence, 2)
    assert torch.allclose(logits, classifier.fc[2](torch.cat([glance, first, second], -1)))
    with pytest.raises(ValueError, match='steps=3'):
        classifier(second, evidence, 3)


def test_glance_fc_answers_the_glance_and_the_memory_goes_on():
    torch.manual_seed(0)
    classifier, looks = (
        RecurrentClassifier(6, 6, num_classes=4, steps=2, hidden=5, glance_fc=True),
        torch.randn(2, 3, 2, 6),
    )
    first, evidence = classifier(looks[:, :, 0], None, 0)
    second, _ = classifier(looks[:, :, 1], evidence, 1)
    assert torch.allclose(
        first, looks[:, :, 0] @ classifier.glance_fc.weight.T + classifier.glance_fc.bias, atol=1e-6
    )
    gru = nn.GRU(6, 5, batch_first=True)
    gru.load_state_dict({f'{name}_l0': value for name, value in classifier.gru.state_dict().items()})
    states, _ = gru(looks.flatten(0, 1))  # both looks
    assert torch.allclose(second, classifier.fc(states[:, 1]).view(2, 3, 4), atol=1e-6)


def test_glance_fc_reads_the_vector_before_it_is_projected():
    classifier = RecurrentClassifier(6, 8, num_classes=4, steps=1, hidden=5, glance_fc=True)
    glance = torch.randn(2, 3, 6)
    assert torch.allclose(classifier(glance, None, 0)[0], classifier.glance_fc(glance))
    assert RecurrentClassifier(6, 6, 4, 1).glance_fc is None


def test_sum_equals_one_linear_on_all_vectors():
    torch.manual_seed(0)
    classifier = SumClassifier(6, 8, num_classes=4, steps=2)
    looks, evidence = [torch.randn(2, 3, width) for width in (6, 8, 8)], None
    for step, look in enumerate(looks):
        logits, evidence = classifier(look, evidence, step)
        weight = torch.cat([layer.weight for layer in classifier.fc[: step + 1]], 1)  # (C, F0 + step*F)
        bias = sum(layer.bias for layer in classifier.fc[: step + 1])
        together = torch.cat(looks[: step + 1], -1) @ weight.T + bias
        torch.testing.assert_close(logits, together, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='steps=3'):
        classifier(looks[-1], evidence, 3)


def test_weights_of_the_sum_grow_with_the_looks():
    def weights(kind: type[nn.Module], steps: int) -> int:
        return sum(layer.weight.numel() for layer in kind(8, 8, num_classes=4, steps=steps).fc)

    assert [weights(SumClassifier, steps) for steps in (0, 2, 4)] == [32, 96, 160]
    assert [weights(ConcatClassifier, steps) for steps in (0, 2, 4)] == [32, 192, 480]
