# SPDX-License-Identifier: Apache-2.0
"""Diffusion backbones through diffusers: SD 1.5's real configuration, small ones shaped like SDXL and SD 3."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
diffusers = pytest.importorskip("diffusers", reason="diffusion teachers need diffusers")

from muon_ad_core.distill.attention_objective import ObjectiveSettings  # noqa: E402
from muon_ad_core.distill.optimisation_settings import OptimisationSettings  # noqa: E402
from muon_ad_core.distill.synthesis import Synthesis  # noqa: E402
from muon_ad_core.distill.synthesis_inputs import SynthesisInputs  # noqa: E402
from muon_ad_core.distill.synthesis_settings import SynthesisSettings  # noqa: E402
from muon_ad_core.distill.teachers.conditioning import zero_text  # noqa: E402
from muon_ad_core.distill.teachers.diffusion import DiffusionTeacher, describe_network  # noqa: E402
from muon_ad_core.distill.teachers.loader import load_teacher  # noqa: E402
from muon_ad_core.errors import EngineError  # noqa: E402

SD15: dict[str, Any] = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "cross_attention_dim": 768,
    "attention_head_dim": 8, "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
SMALL_SD15 = {
    **SD15, "sample_size": 8, "block_out_channels": (8, 8, 16, 16), "cross_attention_dim": 16, "norm_num_groups": 4,
    "attention_head_dim": 2,
}  # fmt: skip
SMALL_SDXL: dict[str, Any] = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "cross_attention_dim": 16,
    "attention_head_dim": (1, 2, 4), "block_out_channels": (8, 16, 32), "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3), "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 12,
}  # fmt: skip
SMALL_SD3: dict[str, Any] = {
    "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 3, "attention_head_dim": 8,
    "num_attention_heads": 2, "joint_attention_dim": 16, "caption_projection_dim": 16, "pooled_projection_dim": 12,
    "pos_embed_max_size": 16,
}  # fmt: skip


def make_network(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "sd3":
        return diffusers.SD3Transformer2DModel(**SMALL_SD3)
    return diffusers.UNet2DConditionModel(**(SMALL_SDXL if kind == "sdxl" else SMALL_SD15))


def make_autoencoder() -> Any:
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4, layers_per_block=1,
    )  # fmt: skip


def test_sd15_has_16_self_attentions_of_which_the_last_six_are_the_default() -> None:
    with torch.device("meta"):  # 860 million parameters without their memory
        network = diffusers.UNet2DConditionModel(**SD15)
    assert 8.5e8 < sum(parameter.numel() for parameter in network.parameters()) < 8.7e8
    _, sites = describe_network(network)
    assert len(sites) == 16
    # Down, middle, up: the middle is registered last but runs seventh.
    assert [site.split(".")[0] for site in sites] == ["down_blocks"] * 6 + ["mid_block"] + ["up_blocks"] * 9
    teacher = DiffusionTeacher(make_network("sd15"), make_autoencoder(), zero_text(SMALL_SD15), "small")
    assert teacher.sites == sites
    assert teacher.default_sites == (10, 11, 12, 13, 14, 15)


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sd3"])
def test_two_steps_of_a_synthesis_with_each_backbone(kind: str) -> None:
    network = make_network(kind)
    teacher = DiffusionTeacher(network, make_autoencoder(), zero_text(network.config), kind)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    inputs = SynthesisInputs((pictures[0],), pictures[1], 64, 64)
    settings = SynthesisSettings(
        size=64, steps=2, objective=ObjectiveSettings(target="latent"),
        optimisation=OptimisationSettings(optimizer="adam", measure_conflicts=True),
    )  # fmt: skip
    synthesis = Synthesis(teacher, inputs, settings)
    first, second = synthesis.advance(), synthesis.advance()
    assert first.statistics.content_loss == pytest.approx(0, abs=1e-5)  # it starts from the content
    assert first.statistics.style_loss and second.statistics.style_loss
    assert second.statistics.content_loss and second.statistics.content_loss > 0
    assert synthesis.picture().shape == (64, 64, 3)


def test_mmdit_gives_picture_tokens_only() -> None:
    network = make_network("sd3")
    teacher = DiffusionTeacher(network, make_autoencoder(), zero_text(network.config), "sd3")
    (record,) = teacher.features(torch.randn(2, 4, 8, 12), 0.5, (1,))
    assert record.query.shape == (2, 2, 4 * 6, 8)


def test_times_fall_from_noise_to_picture() -> None:
    network = make_network("sd15")
    times = DiffusionTeacher(network, make_autoencoder(), zero_text(network.config), "x").times(10)
    assert len(times) == 10 and times == sorted(times, reverse=True) and 0 < times[-1] < times[0] < 1


def save_pipeline(folder: Path, safe: bool = True) -> None:
    make_network("sd15").save_pretrained(folder / "unet", safe_serialization=safe)
    make_autoencoder().save_pretrained(folder / "vae", safe_serialization=safe)
    index = '{"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}'
    (folder / "model_index.json").write_text(index)


def test_a_local_folder_is_loaded(tmp_path: Path) -> None:
    save_pipeline(tmp_path)
    teacher = load_teacher(str(tmp_path), bfloat16=False)
    assert len(teacher.sites) == 16 and teacher.target == "latent" and teacher.stride == 2 * 8


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    save_pipeline(tmp_path, safe=False)
    with pytest.raises(EngineError, match="safetensors"):
        load_teacher(str(tmp_path), bfloat16=False)
