"""Weights with which the VAE computes a linear patch code and its inverse exactly: where its training starts.

The decoder's residual blocks pass their input on, its pixel shuffles lay out the pixels. Its head's GroupNorm and SiLU
are undone: a group holds each signal as +s and -s beside constants that fix its mean and variance, and
silu(s) - silu(-s) = s.

Patches are 8x8 pixels; a pixel's row in its patch is written in bits y2 y1 y0 (coarse to fine), its column x2 x1 x0.
"""

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.init import dirac_

from facemogle.vae import PixelShuffleAutoencoderKL
from train.mini.latent_code import PATCH, LatentCode

CONSTANT = 100.0
LOG_VARIANCE = -8.0


@torch.no_grad()
def set_linear(vae: PixelShuffleAutoencoderKL, code: LatentCode) -> None:
    """Overwrite the weights that the linear path needs; all others keep their random start."""
    widths = vae.config.block_out_channels
    if len(widths) != 4 or widths[0] < 12 or min(widths[1:3]) < 48:
        raise ValueError(f"A linear 8x8 code needs four widths of at least 12, 48, 48 and its channels, got {widths}.")
    for module in vae.decoder.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
            if module.conv_shortcut is not None:
                module.conv_shortcut.bias.zero_()
                dirac_(module.conv_shortcut.weight)
    set_linear_encoder(vae.encoder, code)
    set_linear_decoder(vae.decoder, code)


def set_linear_encoder(encoder: nn.Conv2d, code: LatentCode) -> None:
    channels = code.encode.shape[1]
    assert encoder.bias is not None
    encoder.weight[:channels] = code.encode.T.unflatten(1, (3, PATCH, PATCH))
    encoder.bias[:channels] = -code.mean @ code.encode
    encoder.weight[channels:] = 0
    encoder.bias[channels:] = LOG_VARIANCE


def set_linear_decoder(decoder: Decoder, code: LatentCode) -> None:
    channels = code.decode.shape[0]
    spread = [block.upsamplers[0].conv for block in decoder.up_blocks[:3]]
    set_outputs(decoder.conv_in, torch.eye(channels))
    draw = torch.cat([code.decode, code.mean[None]]).reshape(channels + 1, 3, 2, 2, 2, 2, 2, 2)
    draw = draw.permute(1, 3, 4, 6, 7, 2, 5, 0).reshape(192, channels + 1)  # c y1 y0 x1 x0, then y2 x2 for the shuffle
    set_outputs(spread[0], draw[:, :-1], bias=draw[:, -1])
    next_bits = torch.eye(48).reshape(3, 2, 2, 2, 2, 48).permute(0, 2, 4, 1, 3, 5)  # c y0 x0, then y1 x1
    set_outputs(spread[1], next_bits.reshape(48, 48))
    set_outputs(spread[2], torch.eye(12))
    set_head(decoder.up_blocks[3].resnets[0].conv_shortcut, decoder.conv_norm_out, decoder.conv_out, 3)


def set_outputs(conv: nn.Conv2d, matrix: Tensor, *, bias: Tensor | float = 0.0) -> None:
    """The first outputs of a 3x3 convolution become `matrix` (outputs, inputs) of the first inputs, pixel by pixel."""
    assert conv.bias is not None
    outputs, inputs = matrix.shape
    conv.weight[:outputs] = 0
    conv.weight[:outputs, :inputs, 1, 1] = matrix
    conv.bias[:outputs] = bias


@torch.no_grad()
def hold_constants(decoder: Decoder) -> None:
    """Undo what training did to the constants of the decoder's head.

    Beside 100, bfloat16 rounds small changes away, so that training in it neither sees nor corrects them; in float32
    they would shift the norm's mean, and with it all colours.
    """
    block, groups = decoder.up_blocks[3], decoder.conv_norm_out.num_groups
    size = decoder.conv_norm_out.num_channels // groups
    for group in range(groups):
        first, end = group * size + 2 * len(range(group, 3, groups)), (group + 1) * size
        for resnet in block.resnets:
            resnet.conv2.weight[first:end] = 0
            resnet.conv2.bias[first:end] = 0
        shortcut = block.resnets[0].conv_shortcut
        shortcut.weight[first:end] = 0
        shortcut.bias[first:end:2], shortcut.bias[first + 1 : end : 2] = CONSTANT, -CONSTANT


def set_head(into: nn.Conv2d, norm: nn.GroupNorm, conv_out: nn.Conv2d, signals: int) -> None:
    """Make norm, SiLU and `conv_out` the identity on the first `signals` inputs of the 1x1 convolution `into`."""
    assert into.bias is not None and conv_out.bias is not None
    groups, size = norm.num_groups, norm.num_channels // norm.num_groups
    into.weight.zero_()
    conv_out.weight.zero_()
    conv_out.bias.zero_()
    norm.weight.zero_()
    norm.bias.zero_()
    for group in range(groups):
        members = range(group, signals, groups)
        constants = size - 2 * len(members)
        if constants < 2 or constants % 2:
            raise ValueError(f"{size} channels to a group cannot hold {len(members)} signals beside constants.")
        first = group * size
        for signal in members:
            into.weight[first, signal], into.weight[first + 1, signal] = 1, -1
            into.bias[first : first + 2] = 0
            norm.weight[first : first + 2] = CONSTANT * (constants / size) ** 0.5
            conv_out.weight[signal, first, 1, 1], conv_out.weight[signal, first + 1, 1, 1] = 1, -1
            first += 2
        into.bias[first : first + constants] = CONSTANT * (-1.0) ** torch.arange(constants)
