"""The same networks in Hugging Face's Transformers, an independent implementation with other names."""

import re
from typing import Any

import torch
from torch import Tensor
from transformers import SwinBackbone, SwinConfig, ViTConfig, ViTModel
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings
from transformers.models.vit.modeling_vit import ViTEmbeddings

_BLOCK = (
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.relative_position_bias_table", ".attention.relative_position_bias.relative_position_bias_table"),
)
_VIT = (
    (r"^blocks\.", "layers."),
    (r"^norm\.", "layernorm."),
    (r"^cls_token", "embeddings.cls_token"),
    (r"^pos_embed", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
)
_SWIN = (
    (r"^layers\.", "swin.encoder.layers."),
    (r"^norm\.", "hidden_states_norms.stage4."),
    (r"^patch_embed\.norm\.", "swin.embeddings.norm."),
    (r"^patch_embed\.proj\.", "swin.embeddings.patch_embeddings.projection."),
)


def renamed(published: dict[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    theirs = {}
    for name, value in published.items():
        for old, new in (*rules, *_BLOCK):
            name = re.sub(old, new, name)
        if ".attn.qkv." in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                theirs[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = third
        else:
            theirs[name] = value
    return theirs


def vit_features(published: dict[str, Tensor], images: Tensor, heads: int, depth: int) -> Tensor:
    """Published weights without heads and images -> the library's B×C×H×W, patches 16 apart."""
    size, C = tuple(images.shape[2:]), published["cls_token"].shape[-1]
    config: Any = ViTConfig(
        hidden_size=C,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * C,
        image_size=size,
        layer_norm_eps=1e-6,
    )
    model = ViTModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(renamed(published, _VIT))
    with torch.no_grad():
        tokens = model(images).last_hidden_state[:, 1:]
    return tokens.transpose(1, 2).reshape(len(images), C, size[0] // 16, size[1] // 16)


def swin_features(published: dict[str, Tensor], images: Tensor, heads: int, depths: tuple[int, ...]) -> Tensor:
    """Published weights in Microsoft's names, without heads, and images -> the library's B×C×H×W."""
    config: Any = SwinConfig(
        image_size=tuple(images.shape[2:]),
        embed_dim=published["patch_embed.norm.weight"].shape[0],
        depths=list(depths),
        num_heads=[heads << stage for stage in range(4)],
        out_features=["stage4"],
    )
    model = SwinBackbone(config).eval()
    wrong = model.load_state_dict(renamed(published, _SWIN), strict=False)
    assert set(wrong.missing_keys) == {"swin.layernorm.weight", "swin.layernorm.bias"}
    assert not wrong.unexpected_keys
    with torch.no_grad():
        features: Tensor = model(images).feature_maps[0]
    return features


def positions_resampled(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Square grid side×side×C -> H·W×C, linear by weights that the library writes out; `size` is nowhere smaller."""
    shapes: Any = torch.tensor([size])
    resized: Tensor = Siglip2VisionEmbeddings.resize_positional_embeddings(grid, shapes, size[0] * size[1])[0]
    return resized


def table_resampled(table: Tensor, side: int) -> Tensor:
    """Square table old²×C -> side²×C, bicubic, as the library resamples a ViT's positions with patches of one pixel."""
    old, C = round(len(table) ** 0.5), table.shape[1]
    config: Any = ViTConfig(image_size=old, patch_size=1, hidden_size=C, num_attention_heads=1)
    embeddings = ViTEmbeddings(config)
    embeddings.position_embeddings.data = torch.cat([torch.zeros(1, 1, C), table[None]], dim=1)
    with torch.no_grad():
        resized: Tensor = embeddings.interpolate_pos_encoding(torch.empty(1, 1 + side * side, C), side, side)
    return resized[0, 1:]
