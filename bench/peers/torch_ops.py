"""The same operations with PyTorch, and the image encoder of SAM-Med3D ViT-B (SPEC A1) in plain PyTorch.

    python3 torch_ops.py SECONDS [DEVICE] [PRECISION] [NAME]
        prints a line of JSON for each, or for those with NAME in their names; DEVICE: cpu, cuda; PRECISION: fp32, tf32 or autocast (f16)
    python3 torch_ops.py export FILE
        writes the encoder as ONNX, and FILE.json with some values of its result
"""
import contextlib, json, math, os, sys, time
import numpy as np
import torch
import torch.nn.functional as F

export = sys.argv[2] if sys.argv[1] == "export" else None
seconds = 0 if export else float(sys.argv[1])
device, precision, only = ([] if export else sys.argv[2:] + ["cpu", "fp32", ""][len(sys.argv) - 2 :]) or ["cpu", "fp32", ""]
if device not in ("cpu", "cuda") or precision not in ("fp32", "tf32", "autocast"):
    sys.exit(__doc__)
if device == "cuda" and not torch.cuda.is_available():
    sys.exit("PyTorch %s sees no CUDA device" % torch.__version__)
torch.set_num_threads(os.cpu_count())
torch.set_grad_enabled(False)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
peer = "PyTorch (CPU)" if device == "cpu" else "PyTorch %s (%s, %s)" % (torch.__version__, torch.cuda.get_device_name(), precision)
context = (lambda: torch.autocast(device)) if precision == "autocast" else contextlib.nullcontext
waves = lambda count, step, scale: torch.from_numpy((np.sin(np.arange(count) * step) * scale).astype(np.float32)).to(device)


def measure(name, flops, f, least=3):
    if export or only not in name:
        return

    def whole():
        with context():
            f()
        if device == "cuda":
            torch.cuda.synchronize()

    whole()
    times, begun = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - begun < seconds:
        t = time.perf_counter()
        whole()
        times.append(1000 * (time.perf_counter() - t))
    ms = float(np.median(times))
    print(json.dumps({"peer": peer, "case": name, "ms": ms, "runs": len(times), "gflops": flops / 1e6 / ms}), flush=True)


x, w, b = waves(512 * 768, 0.37, 1).view(512, 768), waves(768 * 3072, 0.11, 0.05).view(768, 3072), waves(3072, 0.7, 0.1)
measure("matmul 512×768×3072, bias, GELU", 2 * 512 * 768 * 3072, lambda: F.gelu(torch.addmm(b, x, w)))


def conv(name, size, cin, cout, kernel, **attrs):
    x = waves(size**3 * cin, 0.37, 1).view(size, size, size, cin).permute(3, 0, 1, 2)[None].contiguous()
    w, b = waves(cout * cin * kernel**3, 0.11, 0.05).view(cout, cin, kernel, kernel, kernel), waves(cout, 0.7, 0.1)
    edge = F.conv3d(x, w, b, **attrs).shape[-1]
    measure(name, 2 * edge**3 * cout * cin * kernel**3, lambda: F.conv3d(x, w, b, **attrs))


conv("conv3d 3³ 384→384 on 8³", 8, 384, 384, 3, padding=1)
conv("conv3d 3³ dilation 2, 96→96 on 32³", 32, 96, 96, 3, padding=2, dilation=2)
conv("patch embedding 16³ on 128³, 768", 128, 1, 768, 16, stride=16)
x = waves(512 * 384, 0.37, 1).view(8, 8, 8, 384).permute(3, 0, 1, 2)[None].contiguous()
w, b = waves(384 * 96 * 8, 0.11, 0.05).view(384, 96, 2, 2, 2), waves(96, 0.7, 0.1)
measure("conv-transpose 2³ 384→96 on 8³", 2 * 512 * 8 * 384 * 96, lambda: F.conv_transpose3d(x, w, b, stride=2))
q, k, v = waves(512 * 3 * 768, 0.37, 1).view(1, 512, 3, 12, 64).permute(2, 0, 3, 1, 4).unbind(0)
attend = getattr(F, "scaled_dot_product_attention", None) or (lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2) / 8, -1) @ v)
measure("attention 12×512×64", 4 * 12 * 512 * 512 * 64, lambda: attend(q, k, v))

# The encoder: 12 blocks of width 768, windows of 14 on a grid of 8 (padded), blocks 2, 5, 8, 11 global; 384 channels out.
r = lambda *shape: waves(math.prod(shape), 0.37, 0.02).view(*shape)
C, H, D, G = 768, 12, 12, 8


def relative(q, table, size):  # (B, heads, s, s, s, d) with the table of one axis, (s, s, d)
    at = torch.arange(size, device=device)[:, None] - torch.arange(size, device=device)[None] + size - 1
    return table[at]


def make_block(window):
    size = window or G
    return dict(window=window, n1=(r(C), r(C)), qkv=(r(3 * C, C), r(3 * C)), proj=(r(C, C), r(C)), n2=(r(C), r(C)),
                lin1=(r(4 * C, C), r(4 * C)), lin2=(r(C, 4 * C), r(C)), tables=[r(2 * size - 1, C // H) for _ in range(3)])


def attention(x, p):
    B, d, h, w, _ = x.shape
    n = d * h * w
    q, k, v = F.linear(x, *p["qkv"]).reshape(B, n, 3, H, C // H).permute(2, 0, 3, 1, 4).unbind(0)
    a = (q * (C // H) ** -0.5) @ k.transpose(-1, -2)
    R = q.reshape(B * H, d, h, w, C // H)
    rd, rh, rw = (relative(q, t, s) for t, s in zip(p["tables"], (d, h, w)))
    a = a.view(B * H, d, h, w, d, h, w)
    # SPEC A1, as SAM-Med3D computes them.
    a = a + torch.einsum("bdhwc,dkc->bdhwk", R, rd)[:, :, :, :, None, None, :]
    a = a + torch.einsum("bdhwc,hkc->bdhwk", R, rh)[:, :, :, :, None, None, :]
    a = a + torch.einsum("bdhwc,wkc->bdhwk", R, rw)[:, :, :, :, None, None, :]
    o = torch.softmax(a.view(B, H, n, n), -1) @ v
    return F.linear(o.transpose(1, 2).reshape(B, d, h, w, C), *p["proj"])


def block(x, p):
    y = F.layer_norm(x, (C,), *p["n1"], eps=1e-6)
    if p["window"]:
        extra = p["window"] - G
        y = attention(F.pad(y, (0, 0, 0, extra, 0, extra, 0, extra)), p)[:, :G, :G, :G]
    else:
        y = attention(y, p)
    x = x + y
    y = F.layer_norm(x, (C,), *p["n2"], eps=1e-6)
    return x + F.linear(F.gelu(F.linear(y, *p["lin1"])), *p["lin2"])


blocks = [make_block(0 if i in (2, 5, 8, 11) else 14) for i in range(D)]
patch, position = (r(C, 1, 16, 16, 16), r(C)), r(1, G, G, G, C)
neck = r(384, C, 1, 1, 1), (r(384), r(384)), r(384, 384, 3, 3, 3), (r(384), r(384))
image = waves(128**3, 0.37, 1).view(1, 1, 128, 128, 128)
norm3d = lambda x, p: F.layer_norm(x.permute(0, 2, 3, 4, 1), (384,), *p, eps=1e-6).permute(0, 4, 1, 2, 3)


def encoder(image=image):
    x = F.conv3d(image, *patch, stride=16).permute(0, 2, 3, 4, 1) + position
    for p in blocks:
        x = block(x, p)
    x = norm3d(F.conv3d(x.permute(0, 4, 1, 2, 3), neck[0]), neck[1])
    return norm3d(F.conv3d(x, neck[2], padding=1), neck[3])


measure("SAM-Med3D ViT-B image encoder, 128³", 0, encoder, least=2)

if export:
    class Encoder(torch.nn.Module):
        def forward(self, x):
            return encoder(x)

    y = encoder().flatten()
    torch.onnx.export(Encoder(), (image,), export, opset_version=17, input_names=["x"], output_names=["y"])
    at = [int(n * 0.618034 % 1 * y.numel()) for n in range(64)]
    with open(export + ".json", "w") as f:
        json.dump({"outputs": y.numel(), "at": at, "values": [float(y[i]) for i in at]}, f)
