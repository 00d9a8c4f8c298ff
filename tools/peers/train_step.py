"""One training step of APM + IPS beside a frozen SAM ViT-B, the published way, on given inputs.

The published code runs the frozen encoder in every step. With PyTorch and segment-anything 1.0, this
script times, on request (see `turns.py`), either that encoder on one image or the rest of a step on a whole
batch of features: two processes, so that the memory of a step is not that of the encoder. In halves, the
encoder's weights are halves and the step is under autocast. It reads `weights.safetensors` (SAM),
`adapters.safetensors` and `batch.safetensors`. After the steps it says their losses and the loss with other
adapters, which the caller trained, so that it can see that both compute the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from computing import add_arithmetic, dtype_of, forget_peak, peak_rss_bytes, prepare, wait
from safetensors.torch import load_file
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional
from turns import say, take_turns

POINTS, FOREGROUND, INPUT_SIZE = 16, 8, 1024
BLOCKS = (3, 4, 6, 3)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["encoder", "step"], required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="adapters and batch")
    parser.add_argument("--later", required=True, help="other adapters in the folder")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    add_arithmetic(parser)
    return parser.parse_args()


class ConvNorm(nn.Module):
    """A convolution without bias and its batch normalization."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels[1])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in, H, W]` to `[B, out, H', W']`."""
        return self.norm(self.conv(x))


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: tuple[int, int], stride: int, project: bool) -> None:
        super().__init__()
        self.branch = nn.ModuleList(
            [ConvNorm(channels, 3, stride), ConvNorm((channels[1], channels[1]), 3, 1)]
        )
        self.shortcut = ConvNorm(channels, 1, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in, H, W]` to `[B, out, H', W']`."""
        y = self.branch[1](functional.relu(self.branch[0](x)))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Fusion(nn.Module):
    """Three convolutions over the joined taps."""

    def __init__(self, width: int, channels: int = 256) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, H, W]` to `[B, channels, H, W]`."""
        return self.conv3(functional.relu(self.conv2(functional.relu(self.conv1(x)))))


class Head(nn.Module):
    """ResNet-34 with a stem of stride 1 and one more projected shortcut."""

    def __init__(self, in_channels: int = 256, base: int = 64) -> None:
        super().__init__()
        self.stem = ConvNorm((in_channels, base), 3, 1)
        self.stages = nn.ModuleList()
        channels = base
        for stage, n_blocks in enumerate(BLOCKS):
            width, blocks = base << stage, []
            for index in range(n_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                last = stage == 3 and index + 1 == n_blocks
                project = last or stride != 1 or channels != width
                blocks.append(BasicBlock((channels, width), stride, project))
                channels = width
            self.stages.append(nn.ModuleList(blocks))
        self.fc = nn.Linear(channels, 2 * POINTS)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, 2 P]`."""
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, 1)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.fc(x.mean((2, 3)))


class Apm(nn.Module):
    """Points from the outputs of three blocks, deepest first."""

    def __init__(self) -> None:
        super().__init__()
        self.fusion, self.head = Fusion(3 * 768), Head()

    def forward(self, taps: Tensor) -> Tensor:
        """`[B, 3 * 768, H, W]` to `[B, P, 2]`, pixels of the input."""
        logits = self.head(self.fusion(taps))
        return INPUT_SIZE * torch.sigmoid(logits).reshape(len(taps), POINTS, 2)


class Ips(nn.Module):
    """An offset per mask token from the pooled embedding."""

    def __init__(self, channels: int = 256, tokens: int = 4) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, 4 * channels)
        self.output = nn.Linear(4 * channels, tokens * channels)

    def forward(self, embedding: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, T, C]`."""
        hidden = functional.gelu(self.hidden(embedding.mean((2, 3))))
        return self.output(hidden).reshape(len(embedding), -1, embedding.shape[1])


class Adapters(nn.Module):
    """Everything that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt, self.shift = Apm(), Ips()


def decode(sam: Sam, embedding: Tensor, coords: Tensor, shift: Tensor) -> Tensor:
    """Logits of the first of three masks, `[B, 256, 256]`, for one set of points per image."""
    batch = len(embedding)
    labels = (torch.arange(POINTS, device=coords.device) < FOREGROUND).int().expand(batch, POINTS)
    sparse, dense = sam.prompt_encoder((coords, labels), None, None)
    decoder = sam.mask_decoder
    masks = decoder.mask_tokens.weight + shift
    iou = decoder.iou_token.weight.expand(batch, 1, -1)
    tokens = torch.cat((iou, masks, sparse), 1)
    pe = sam.prompt_encoder.get_dense_pe().expand(batch, -1, -1, -1)
    out, image = decoder.transformer(embedding + dense, pe, tokens)
    image = image.transpose(1, 2).reshape(embedding.shape)
    upscaled = decoder.output_upscaling(image)
    # All four tokens, as the published decoder does, then the one that is used.
    weights = torch.stack(
        [mlp(out[:, 1 + at]) for at, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1
    )
    return (weights @ upscaled.flatten(2)).reshape(batch, 4, *upscaled.shape[2:])[:, 1]


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus one minus soft Dice."""
    logits, target = logits.flatten(1), target.flatten(1)
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * target).sum(1) + 1
    dice = (overlap / (probability.sum(1) + target.sum(1) + 1)).mean()
    return functional.binary_cross_entropy_with_logits(logits, target) + 1 - dice


def load(adapters: Adapters, path: Path) -> None:
    """Reads all that is trained, and the running statistics."""
    missing, unexpected = adapters.load_state_dict(load_file(path), strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    assert not missing and not unexpected, f"missing {missing}, unexpected {unexpected}"


def time_encoder(args: argparse.Namespace, sam: Sam, image: Tensor) -> None:
    """Encodes an image whenever it is asked to."""
    image = image.to(dtype_of(args))

    @torch.inference_mode()
    def encode() -> None:
        # In the host's memory, where the caller has its own embedding too: the device has finished.
        sam.image_encoder(image).float().cpu()

    alone = forget_peak()
    encode()  # warm-up
    take_turns({"torch": torch.__version__}, encode)
    say({"peak_rss_mib": peak_rss_bytes() / 2**20, "peak_alone": alone})


def time_step(args: argparse.Namespace, sam: Sam, batch: dict[str, Tensor]) -> None:
    """Takes a training step whenever it is asked to."""
    adapters = Adapters().to(args.device)
    load(adapters, args.folder / "adapters.safetensors")
    optimizer = torch.optim.Adam(adapters.parameters(), lr=args.learning_rate)
    adapters.train()
    taps, embedding, target = batch["taps"], batch["image_embedding"], batch["target"]
    halves = args.precision != "f32"
    losses: list[float] = []

    def forward() -> Tensor:
        with torch.autocast(args.device.split(":")[0], dtype_of(args), enabled=halves):
            coords, shift = adapters.prompt(taps), adapters.shift(embedding)
            logits = decode(sam, embedding, coords, shift)
        return loss_of(logits.float(), target)

    def step() -> None:
        loss = forward()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        wait(args)

    alone = forget_peak()
    step()  # warm-up
    take_turns({"torch": torch.__version__}, step)
    peak = peak_rss_bytes() / 2**20
    load(adapters, args.folder / args.later)
    with torch.no_grad():
        later_loss = forward().item()
    say({"losses": losses, "later_loss": later_loss, "peak_rss_mib": peak, "peak_alone": alone})


def main() -> None:
    """Reads, and times one of both."""
    args = parse_args()
    prepare(args)
    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(load_file(args.weights))
    sam.requires_grad_(False).eval().to(args.device)
    sam.image_encoder.to(dtype_of(args))
    batch = load_file(args.folder / "batch.safetensors", device=args.device)
    if args.part == "encoder":
        time_encoder(args, sam, batch["image"])
    else:
        time_step(args, sam, batch)


if __name__ == "__main__":
    main()
