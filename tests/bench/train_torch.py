# SPDX-License-Identifier: BSD-2-Clause
"""
Samples a second of fine-tuning: tests/bench/train.c, which is this trainer's own loop, against the
same network in PyTorch. Same weights, inputs, loss, optimiser and number of threads; the two take
turns, and medians of the turns are reported.

    train_torch.py TRAIN THREADS ROUNDS

TRAIN writes its weights and inputs to a file, from which this takes its own, and both print the
losses of the same steps: were they not equal, there would be nothing to compare.

PyTorch has no selective scan. It is written here as one would for a processor: time first, so that
a step's slices are contiguous; channels last, so that they are the vectors; the exponentials of many
tokens at once; and only the recurrence itself, one fused multiply-add of (B, N, E) a token, in a
loop. Three ways: with autograd's own way back through that loop, with a written one that runs in
place, and with that one in chunks of tokens, whose (chunk, B, N, E) stay in the caches. The fastest
is what PyTorch is credited with.
"""
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TRAIN, THREADS, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
# Both are read when the libraries are loaded; torch.set_num_threads alone leaves OpenBLAS's.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = THREADS
# Memory stays with the process: else each large tensor is mapped and cleared anew.
for setting, value in ((-1, 1 << 30), (-4, 0)):  # M_TRIM_THRESHOLD, M_MMAP_MAX
    ctypes.CDLL(None).mallopt(setting, value)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(int(THREADS))

SHAPES = {"nano": 32, "base": 8}  # of train.c, and flows a batch
GOLDEN = "tests/golden/tiny-bi"
LAYER_DECAY, RATE, WEIGHT_DECAY = 0.75, 1e-3, 0.05  # as train.c has them
SCALE, MARGIN, SMOOTHING, BETA = 30, 0.5, 0.1, 0.999
TURN_S = 2.0
SAME = 1e-3  # relative, each loss; float32 sums in another order


def read_tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "U8": np.uint8}
    tensors = {}
    for name, t in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        values = np.frombuffer(data[start + begin:start + end], types[t["dtype"]])
        tensors[name] = torch.from_numpy(values.copy()).reshape(t["shape"])
    return tensors


def scan_autograd(decay, into, state):
    states = []
    for d, i in zip(decay.unbind(0), into.unbind(0)):
        state = torch.addcmul(i, d, state)
        states.append(state)
    return torch.stack(states), state


class WrittenScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay, into, before):
        states, state = torch.empty_like(into), before
        for d, i, out in zip(decay.unbind(0), into.unbind(0), states.unbind(0)):
            state = torch.addcmul(i, d, state, out=out)
        ctx.save_for_backward(decay, states, before)
        return states, state.clone()

    @staticmethod
    def backward(ctx, d_states, d_last):
        decay, states, before = ctx.saved_tensors
        g = d_states.clone()
        g[-1] += d_last
        slices, decays = g.unbind(0), decay.unbind(0)
        for t in range(len(slices) - 1, 0, -1):
            slices[t - 1].addcmul_(decays[t], slices[t])
        d_decay = torch.empty_like(g)
        torch.mul(g[1:], states[:-1], out=d_decay[1:])
        torch.mul(g[0], before, out=d_decay[0])
        return d_decay, g, decay[0] * g[0]


SCANS = {  # and tokens a chunk
    "autograd": (scan_autograd, 4096),
    "written": (WrittenScan.apply, 4096),
    "written in chunks": (WrittenScan.apply, 32),
}


def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight


def sinusoid(values, frequency):
    angle = values.unsqueeze(-1) * frequency
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)


class Network:
    """Of the official tensors; sequences are (L, B, ...)."""

    def __init__(self, tensors, scan):
        self.scan, self.chunk = SCANS[scan]
        self.w = {k: v.clone().requires_grad_() for k, v in tensors.items()}
        self.D = self.w["pos_embed"].shape[-1]
        self.depth = 1 + max(int(k.split(".")[1]) for k in self.w if k.startswith("encoder_b"))
        self.frequency = 10000.0 ** (-torch.arange(0, self.D, 2) / self.D)

    def embed(self, data, sizes, iats):
        w = self.w
        stride = w["byte_embed.proj.weight"].shape[-1]
        window = (data.float() * (2 / 255) - 1).reshape(len(data), -1, stride)
        tokens = {
            "size": sinusoid(sizes, self.frequency),
            "iat": sinusoid(iats, self.frequency),
            "byte": F.linear(window, w["byte_embed.proj.weight"][:, 0], w["byte_embed.proj.bias"]),
        }
        parts = []
        for kind, t in tokens.items():
            cls = w[kind + "_cls_token"].expand(len(data), 1, self.D)
            parts.append(torch.cat((t, cls), 1) + w[kind + "_indicator"])
        return (torch.cat(parts, 1) + w["pos_embed"]).transpose(0, 1)

    def mixer(self, u, name):
        w = {k[len(name):]: v for k, v in self.w.items() if k.startswith(name)}
        N = w["A_log"].shape[1]
        R = w["dt_proj.weight"].shape[1]
        K = w["conv1d.weight"].shape[2]
        x, z = F.linear(u, w["in_proj.weight"]).chunk(2, -1)
        padded = F.pad(x, (0, 0, 0, 0, K - 1, 0))
        taps = w["conv1d.weight"][:, 0].t()
        c = w["conv1d.bias"]
        for k in range(K):
            c = torch.addcmul(c, taps[k], padded[k:k + len(x)])
        c = F.silu(c)
        dt, B, C = F.linear(c, w["x_proj.weight"]).split((R, N, N), -1)
        dt = F.softplus(F.linear(dt, w["dt_proj.weight"], w["dt_proj.bias"]))
        y = self.scan_chunks(dt, dt * c, B, C, -w["A_log"].exp().t()) + w["D"] * c
        return F.linear(y * F.silu(z), w["out_proj.weight"])

    def scan_chunks(self, dt, dt_x, B, C, A):
        state, parts = A.new_zeros(dt.shape[1], *A.shape), []
        for dt, dt_x, B, C in zip(*(s.split(self.chunk) for s in (dt, dt_x, B, C))):
            decay = (dt.unsqueeze(-2) * A).exp()
            into = dt_x.unsqueeze(-2) * B.unsqueeze(-1)
            states, state = self.scan(decay, into, state)
            parts.append((C.unsqueeze(-2) @ states).squeeze(-2))
        return torch.cat(parts)

    def logits(self, data, sizes, iats):
        h = self.embed(data, sizes, iats)
        residual = 0
        for i in range(self.depth):
            residual = residual + h
            u = norm(residual, self.w[f"encoder_blocks.{i}.norm.weight"])
            h = self.mixer(u, f"encoder_blocks.{i}.mixer.")
        S = sizes.shape[1]
        cls = (residual + h)[[S, 2 * S + 1, -1]]
        return F.linear(norm(cls, self.w["norm_f.weight"]).sum(0), self.w["head.weight"])

    def groups(self):
        """Each parameter's rate and weight decay, as model/layout.h has them."""
        groups = []
        for name, v in self.w.items():
            block = name.startswith("encoder_blocks.")
            layer = int(name.split(".")[1]) + 1 if block else \
                self.depth + 1 if name.startswith(("norm_f", "head")) else 0
            kept = v.dim() == 1 or name == "pos_embed" or "cls_token" in name
            groups.append({"params": [v], "lr": RATE * LAYER_DECAY ** (self.depth + 1 - layer),
                           "weight_decay": 0 if kept else WEIGHT_DECAY})
        return groups


def ldam(labels, n_classes):
    """Label distribution aware, class-balanced, smoothed loss of logits."""
    counts = torch.bincount(labels, minlength=n_classes)
    there = counts > 0
    margin = torch.where(there, counts.clamp(min=1) ** -0.25, 0.0)
    margin = margin / margin.max() * MARGIN
    weight = torch.where(there, (1 - BETA) / (1 - BETA ** counts.clamp(min=1).double()), 0.0)
    weight = (weight / weight.sum() * there.sum()).float()
    less = F.one_hot(labels, n_classes) * margin
    return lambda logits: F.cross_entropy(SCALE * (logits - less), labels, weight,
                                          label_smoothing=SMOOTHING)


class Torch:
    def __init__(self, path, scan):
        tensors = read_tensors(path)
        self.inputs = [tensors.pop(k) for k in ("bytes", "sizes", "iats")]
        labels = tensors.pop("labels").flatten().long()
        self.net = Network(tensors, scan)
        self.loss = ldam(labels, tensors["head.weight"].shape[0])
        self.adamw = torch.optim.AdamW(self.net.groups(), betas=(0.9, 0.999), eps=1e-8)
        self.losses = []

    def steps(self, n):
        start = time.monotonic()
        for _ in range(n):
            self.adamw.zero_grad(set_to_none=True)
            loss = self.loss(self.net.logits(*self.inputs))
            loss.backward()
            self.adamw.step()
            self.losses.append(loss.item())
        return time.monotonic() - start


class Ours:
    def __init__(self, path, shape, batch):
        self.process = subprocess.Popen([TRAIN, shape, str(batch), THREADS, path], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.losses = []
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"{TRAIN} did not start")

    def steps(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        *losses, seconds = map(float, self.process.stdout.readline().split())
        self.losses += losses
        return seconds

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def check_golden():
    io = read_tensors(GOLDEN + ".io.safetensors")
    for name in SCANS:
        net = Network(read_tensors(GOLDEN + ".weights.safetensors"), name)
        off = (net.logits(io["bytes"], io["sizes"], io["iat"]) - io["logits"]).abs().max()
        off = (off / io["logits"].abs().max()).item()
        print(f"PyTorch's logits on {GOLDEN}, scan {name}: off by {off:.1g}")
        if not off < 1e-4:
            sys.exit("this is another network")


def fastest_scan(path, batch):
    rates = {}
    for name in SCANS:
        side = Torch(path, name)
        side.steps(1)
        rates[name] = batch / min(side.steps(1) for _ in range(3))
    best = max(rates, key=rates.get)
    print("  PyTorch's scan: " + ", ".join(f"{k} {v:.1f} samples/s" for k, v in rates.items())
          + f"; {best} it is")
    return best


def check_losses(a, b):
    n = min(len(a), len(b))
    off = max(abs(x - y) / abs(y) for x, y in zip(a, b))
    print(f"  losses of steps 1, 2, {n}: ours {a[0]:.6f} {a[1]:.6f} {a[n - 1]:.6f}, "
          f"PyTorch's {b[0]:.6f} {b[1]:.6f} {b[n - 1]:.6f}; off by {off:.1g} at the most")
    if not off < SAME:
        sys.exit("they do not compute the same")


def compare(shape, batch, folder):
    path = f"{folder}/{shape}.safetensors"
    ours = Ours(path, shape, batch)
    tensors = read_tensors(path)
    L, D = tensors["pos_embed"].shape[1:]
    print(f"{shape}: batches of {batch} flows, {L} tokens, width {D}, {THREADS} threads each")
    sides = (ours, Torch(path, fastest_scan(path, batch)))
    turns = []
    for side in sides:
        side.steps(1)
        turns.append(max(1, round(TURN_S / side.steps(1))))
    rates = ([], [])
    for _ in range(ROUNDS):
        for i, side in enumerate(sides):
            rates[i].append(batch * turns[i] / side.steps(turns[i]))
        print(f"  in turn: ours {rates[0][-1]:.1f}, PyTorch {rates[1][-1]:.1f} samples/s; "
              f"load {os.getloadavg()[0]:.1f}", flush=True)
    ours.end()
    check_losses(ours.losses, sides[1].losses)
    return (*map(statistics.median, rates),
            statistics.median(a / b for a, b in zip(*rates)))


def main():
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    check_golden()
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for shape, batch in SHAPES.items():
            suffix = "_base" if shape == "base" else ""
            a, b, ratio = compare(shape, batch, folder)
            figures += [f"figure train_samples_per_s{suffix} {a:.1f} samples/s",
                        f"figure torch_samples_per_s{suffix} {b:.1f} samples/s",
                        f"figure train_over_pytorch{suffix} {ratio:.2f} times"]
    print("\n".join(figures))


if __name__ == "__main__":
    main()
