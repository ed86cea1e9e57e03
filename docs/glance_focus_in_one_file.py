"""The whole method in one file, top to bottom: glance, policy, looks, PPO, early exit. It needs torch alone.

    python docs/glance_focus_in_one_file.py    # learns in a minute or two on one core, and prints a table

Clips show a small mark on noise, and the class is the mark; the glance sees where it is, a patch at full
resolution which. Weights have the names that they have in the package, whose model gives the same numbers.
GFNet: Huang et al., TPAMI 2023. TSM: Lin et al., ICCV 2019. PPO: Schulman et al., 2017.
"""

import math
import sys
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

T, SIZE, CLASSES = 4, 64, 4  # frames of a clip, side of a frame in pixels
GLANCE, PATCH, STEPS = 32, 16, 2  # side of the glance and of a patch; S, looks after the glance
WIDTH, HIDDEN, REDUCED, FEATURES = 16, 64, 16, 64  # of encoders, GRU, keys; F of the vectors
STD, GAMMA, LAMBDA, CLIP, BATCH = (0.25, 0.1), 0.7, 0.95, 0.2, 32


def make_clips(count, generator):
    """Frames (B, T, 3, SIZE, SIZE) and labels (B,): noise, and a mark of 8 x 8 pixels that drifts."""
    marks = torch.zeros(CLASSES, 8, 8)
    marks[0, ::2], marks[1, :, ::2] = 1, 1  # lines across, lines down
    marks[2, ::2, ::2] = marks[2, 1::2, 1::2] = 1  # a chequerboard
    marks[3, :4, :4] = marks[3, 4:, 4:] = 1  # a coarse one
    frames = 0.3 * torch.randn(count, T, 3, SIZE, SIZE, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    start = torch.randint(0, SIZE - 8 - 2 * T, (count, 2), generator=generator)
    for b in range(count):
        for t in range(T):
            y, x = (start[b] + 2 * t).tolist()
            frames[b, t, :, y : y + 8, x : x + 8] = 2 * marks[labels[b]]
    return frames, labels


def shift(x):
    """TSM, images (B*T, C, h, w): an eighth of the channels from the next frame, one from the previous."""
    clips = x.unflatten(0, (-1, T))  # (B, T, C, h, w)
    fold, out = clips.shape[2] // 8, clips.clone()
    out[:, :-1, :fold], out[:, -1, :fold] = clips[:, 1:, :fold], 0
    out[:, 1:, fold : 2 * fold], out[:, 0, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold], 0
    return out.flatten(0, 1)


class Block(nn.Module):
    def __init__(self, before, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return (self.bn2(self.conv2(self.bn1(self.conv1(shift(x))).relu())) + self.downsample(x)).relu()


class Encoder(nn.Module):
    """Frames (B, T, 3, H, W) to vectors (B, T, F) and the map (B, T, D, h, w) that the policy reads."""

    def __init__(self, map_number):
        super().__init__()
        stem = nn.Conv2d(3, WIDTH, 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        widths = [WIDTH, WIDTH, 2 * WIDTH, 4 * WIDTH]  # maps at strides 4, 8 and 16
        stages = nn.ModuleList(nn.Sequential(Block(a, b)) for a, b in zip(widths, widths[1:]))
        backbone = dict(stem=nn.Sequential(*stem), stages=stages)
        self.backbone, self.map_number = nn.ModuleDict(backbone), map_number

    def forward(self, frames):
        x, maps = self.backbone['stem'](frames.flatten(0, 1)), []
        for stage in self.backbone['stages']:
            maps.append(x := stage(x))
        return x.mean((2, 3)).unflatten(0, (-1, T)), maps[self.map_number].unflatten(0, (-1, T))


# ---- the policy
def reader(channels, cells):
    """A map to a vector."""
    convolution, linear = nn.Conv2d(channels, REDUCED, 1), nn.Linear(REDUCED * cells, HIDDEN)
    steps = dict(reduce=convolution, relu=nn.ReLU(), flat=nn.Flatten(), linear=linear, relu2=nn.ReLU())
    return nn.Sequential(OrderedDict(steps))


class Policy(nn.Module):
    """A GRU over looks. Where its query attends on the glance's map is the mean of a Gaussian."""

    def __init__(self, glance_channels, focus_channels, glance_cells, focus_cells):
        super().__init__()
        self.glance_reader = reader(glance_channels, glance_cells)
        self.focus_reader = reader(focus_channels, focus_cells)
        self.gru = nn.GRUCell(HIDDEN, HIDDEN)
        first, last = nn.Conv2d(glance_channels, 2 * REDUCED, 3, 1, 1), nn.Conv2d(2 * REDUCED, REDUCED, 1)
        self.keys = nn.Sequential(first, nn.ReLU(), last)
        self.actor = nn.ModuleDict(dict(query=nn.Linear(HIDDEN, REDUCED), return_weight=nn.Linear(HIDDEN, 1)))
        self.critic = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.register_buffer('std', torch.tensor(STD[0]))

    def aim(self, hidden, keys, centres):
        """(B, T, HIDDEN), (B, T, REDUCED, h, w), (B, T, 2) or None to means (B, T, 2)."""
        scores = torch.einsum('btk,btkhw->bthw', self.actor['query'](hidden), keys) * REDUCED**-0.5
        cells = scores.shape[-1]
        middles = (torch.arange(cells) + 0.5) * (SIZE / cells)
        at = ((middles - PATCH / 2) / (SIZE - PATCH)).clamp(0, 1)  # the centre that puts a patch over a cell
        if centres is not None:  # a weight seeks or avoids the place looked at before
            reach = PATCH / (2 * (SIZE - PATCH))
            y, x = ((at - centres[..., i, None]) / reach for i in (0, 1))  # (B, T, cells)
            near = torch.exp(-(y[..., :, None] ** 2) - x[..., None, :] ** 2)
            scores = scores + self.actor['return_weight'](hidden)[..., None] * near
        attention = scores.flatten(2).softmax(-1).view_as(scores)
        return torch.stack([(attention.sum(3) * at).sum(2), (attention.sum(2) * at).sum(2)], -1)

    def forward(self, feature_map, centres, memory):
        """Mean of the next centres, expected return, and what to remember."""
        images = feature_map.flatten(0, 1)
        seen = (self.glance_reader if memory is None else self.focus_reader)(images)
        hidden = self.gru(seen, None if memory is None else memory[0].flatten(0, 1)).unflatten(0, (-1, T))
        keys = self.keys(images).unflatten(0, (-1, T)) if memory is None else memory[1]
        return self.aim(hidden, keys, centres), self.critic(hidden).squeeze(-1), (hidden, keys)

    def log_prob(self, action, mean):
        return torch.distributions.Normal(mean, self.std).log_prob(action).sum(-1)  # (B, T)


# ---- the looks
def crop(frames, centres):
    """Patches (B, T, 3, PATCH, PATCH) whose corner is at floor(centre * (SIZE - PATCH))."""
    corners = (centres.clamp(0, 1) * (SIZE - PATCH)).floor().long()
    rows, cols = (corners[..., i, None] + torch.arange(PATCH) for i in (0, 1))  # (B, T, PATCH)
    index = (rows[..., :, None] * SIZE + cols[..., None, :]).flatten(2)[:, :, None].expand(-1, -1, 3, -1)
    return frames.flatten(3).gather(3, index).unflatten(3, (PATCH, PATCH))


class State(NamedTuple):
    step: int  # of the look that left this
    logits: torch.Tensor  # (B, T, C); a clip's are their mean over T
    vector: torch.Tensor  # of this look
    vectors: torch.Tensor  # of all looks, side by side
    map: torch.Tensor  # that the policy reads
    centres: torch.Tensor | None = None
    memory: tuple | None = None

    def select(self, rows):
        kept = (None if value is None else value[rows] for value in self[1:-1])
        return State(self.step, *kept, self.memory and tuple(value[rows] for value in self.memory))


class GlanceFocus(nn.Module):
    def __init__(self):
        super().__init__()
        self.glance_encoder, self.focus_encoder = Encoder(map_number=0), Encoder(map_number=2)
        self.policy = Policy(WIDTH, 4 * WIDTH, (GLANCE // 4) ** 2, (PATCH // 16) ** 2)
        layers = (nn.Linear((look + 1) * FEATURES, CLASSES) for look in range(STEPS + 1))
        self.classifier = nn.ModuleDict(dict(fc=nn.ModuleList(layers)))
        self.glance_head, self.focus_head = nn.Linear(FEATURES, CLASSES), nn.Linear(FEATURES, CLASSES)

    def glance(self, frames):
        small = F.interpolate(frames.flatten(0, 1), (GLANCE, GLANCE), mode='bilinear', antialias=True)
        vector, feature_map = self.glance_encoder(small.unflatten(0, (-1, T)))
        return State(0, self.classifier['fc'][0](vector), vector, vector, feature_map)

    def choose(self, state, how):
        """Centres (B, T, 2) of the next look, and the memory of the policy."""
        if how != 'policy':
            centres = torch.rand(*state.logits.shape[:2], 2)
            return (centres if how == 'random' else torch.full_like(centres, 0.5)), state.memory
        with torch.no_grad():
            mean, _, memory = self.policy(state.map, state.centres, state.memory)
        return mean.clamp(0, 1), memory

    def focus(self, frames, state, centres, memory):
        vector, feature_map = self.focus_encoder(crop(frames, centres))
        vectors, step = torch.cat([state.vectors, vector], -1), state.step + 1
        logits = self.classifier['fc'][step](vectors)
        return State(step, logits, vector, vectors, feature_map, centres, memory)

    def looks(self, frames, how):
        states = [self.glance(frames)]
        for _ in range(STEPS):
            states.append(self.focus(frames, states[-1], *self.choose(states[-1], how)))
        return states

    def losses(self, frames, labels, how):
        """Every look is supervised, and each encoder by a head of its own (GFNet, Eq. 8)."""
        total = 0
        for state in self.looks(frames, how):
            for logits in (state.logits, (self.focus_head if state.step else self.glance_head)(state.vector)):
                total = total + F.cross_entropy(logits.mean(1), labels) / (STEPS + 1)
        return total


# ---- PPO
def label_log_probs(state, labels):
    at = labels.view(-1, 1, 1).expand(-1, T, 1)
    return state.logits.log_softmax(-1).gather(2, at).squeeze(2)  # (B, T)


@torch.no_grad()
def rollout(model, frames, labels):
    """Look where the policy's draws say; of every choice what it read, drew, and was worth."""
    state, record = model.glance(frames), []
    for _ in range(STEPS):
        mean, value, memory = model.policy(state.map, state.centres, state.memory)
        action = mean + model.policy.std * torch.randn_like(mean)
        after = model.focus(frames, state, action.clamp(0, 1), memory)
        reward = label_log_probs(after, labels).exp() - label_log_probs(state, labels).exp()
        record.append((state, action, model.policy.log_prob(action, mean), value, reward))
        state = after
    advantages, running, value_after = [], 0, 0
    for _, _, _, value, reward in reversed(record):  # generalised advantage estimation
        running = reward + GAMMA * value_after - value + GAMMA * LAMBDA * running
        advantages, value_after = [running, *advantages], value
    advantages, values = (torch.stack(x) for x in (advantages, [one[3] for one in record]))  # (S, B, T)
    return (
        record,
        (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-6),
        advantages + values,
    )


def policy_losses(model, record, advantages, returns):
    """Clipped surrogate (PPO, Eq. 7) and value loss of the policy as it is now."""
    memory, policy_loss, value_loss = None, 0, 0
    for (state, action, old_log_prob, _, _), advantage, target in zip(record, advantages, returns):
        mean, value, memory = model.policy(state.map, state.centres, memory)
        ratio = (model.policy.log_prob(action, mean) - old_log_prob).exp()
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        policy_loss = policy_loss - surrogate.mean() / STEPS
        value_loss = value_loss + 0.5 * F.mse_loss(value, target) / STEPS
    return policy_loss, value_loss


@torch.no_grad()
def run_with_exits(model, frames, thresholds):
    """Clips leave as soon as they are sure; the others go on as a smaller batch. Logits and looks taken."""
    state, rows = model.glance(frames), torch.arange(len(frames))
    answers, looks = state.logits.mean(1), torch.zeros(len(frames), dtype=torch.long)
    for threshold in thresholds:
        stay = (state.logits.mean(1).softmax(-1).amax(1) < threshold).nonzero().squeeze(1)
        if not len(stay):
            break
        rows, state = rows[stay], state.select(stay)
        state = model.focus(frames[rows], state, *model.choose(state, 'policy'))
        answers[rows], looks[rows] = state.logits.mean(1), looks[rows] + 1
    return answers, looks


def stage(model, parts, updates, rate, generator, losses_of):
    """Train the named parts alone, with a cosine; the others keep even their statistics."""
    for name, part in model.named_children():
        part.train(name in parts).requires_grad_(name in parts)
    learning = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, rate)
    for update in range(updates):
        optimizer.param_groups[0]['lr'] = rate * (1 + math.cos(math.pi * update / updates)) / 2
        for loss in losses_of(model, update / updates, *make_clips(BATCH, generator)):
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()


def by_patches(how, model, progress, frames, labels):
    yield model.losses(frames, labels, how)


def by_ppo(model, progress, frames, labels):
    model.policy.std.fill_(STD[0] + (STD[1] - STD[0]) * progress)
    rolled = rollout(model, frames, labels)
    for _ in range(4):  # passes over what was rolled out
        yield sum(policy_losses(model, *rolled))


def train(model, updates=150, seed=0):
    generator, encoders = torch.Generator().manual_seed(seed), set(dict(model.named_children())) - {'policy'}
    stage(model, encoders, 2 * updates, 2e-3, generator, partial(by_patches, 'random'))
    stage(model, {'policy'}, updates, 1e-3, generator, by_ppo)
    stage(model, encoders, updates // 2, 5e-4, generator, partial(by_patches, 'policy'))
    return model.eval()


def main(updates=150):
    torch.manual_seed(0)
    model = train(GlanceFocus(), updates)
    frames, labels = make_clips(500, torch.Generator().manual_seed(999))
    accuracy = lambda logits: f'{100 * (logits.argmax(1) == labels).float().mean():.1f} %'  # noqa: E731
    for how in ('random', 'centre', 'policy'):
        with torch.no_grad():
            told = [accuracy(state.logits.mean(1)) for state in model.looks(frames, how)]
        print(f'{how:<6} right after 0, 1, 2 looks:', ', '.join(told))
    for threshold in (0.6, 0.8, 0.95):
        logits, looks = run_with_exits(model, frames, [threshold] * STEPS)
        print(f'exits at {threshold:.2f}: {accuracy(logits)}, {looks.float().mean():.2f} looks a clip')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
