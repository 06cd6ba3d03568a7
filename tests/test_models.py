"""The six models: their sizes, their options, and that they compute what they claim."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fmnist_lib.models import MODELS, OptionError, build_model, count_parameters
from fmnist_lib.models.densenet_tiny import DenseBlock
from fmnist_lib.models.resnet_mini import ResidualBlock
from fmnist_lib.models.vit_tiny import EncoderLayer, PatchEmbedding

# In the paper's order: title, parameters, and the sum of squared logits of four images of noise.
FACTS = {
    "lenet5": ("LeNet-5", 61_706, 0.136883),
    "resnet_mini": ("ResNet-Mini", 11_402, 15.18259),
    "densenet_tiny": ("DenseNet-Tiny", 11_666, 1.299177),
    "mobilenet_lite": ("MobileNet-Lite", 14_218, 1.927744),
    "vit_tiny": ("ViT-Tiny", 105_546, 21.12074),
    "baseline_cnn": ("Custom CNN", 6_330, 34.30448),
}

# Every option once away from its default, with the parameters counted by hand (None: not counted).
VARIANTS = [
    ("lenet5", {"activation": "relu"}, 61_706),
    ("lenet5", {"pooling": "max"}, 61_706),
    ("lenet5", {"batch_norm": True}, 61_706 + 2 * (6 + 16)),
    ("lenet5", {"dense": [60, 42]}, 156 + 2_416 + 24_060 + 2_562 + 430),
    ("resnet_mini", {"widths": [16, 32, 64]}, 175_370),
    ("resnet_mini", {"widths": [8]}, None),
    ("resnet_mini", {"blocks_per_stage": 1}, 11_402 - 312 - 1_200 - 4_704),
    # Without its two projections: (4·8 + 8) + 2·8 and (8·16 + 16) + 2·16.
    ("resnet_mini", {"shortcuts": False}, 11_402 - 56 - 176),
    ("densenet_tiny", {"growth_rate": 4}, None),
    ("densenet_tiny", {"layers_per_block": 1}, None),
    # Stem 80, blocks 3·3,556, transitions 2·(12·8 + 8), classifier 12·10 + 10.
    ("densenet_tiny", {"dense": False}, 80 + 3 * 3_556 + 2 * 104 + 130),
    # With one layer a block its width is the growth rate; blocks 600, 304, 230, transitions 36, 27.
    ("densenet_tiny", {"dense": False, "layers_per_block": 1}, 80 + 1_134 + 63 + 90),
    ("densenet_tiny", {"stem_width": 16}, None),
    ("densenet_tiny", {"compression": 2}, None),
    ("mobilenet_lite", {"widths": [8, 16]}, None),
    # A full 3×3 convolution a block, with biases and one batch norm, beside stem 160 and FC 1,290.
    ("mobilenet_lite", {"separable": False}, 160 + 4_704 + 18_624 + 74_112 + 1_290),
    ("mobilenet_lite", {"downsample": "stride"}, 14_218),
    ("mobilenet_lite", {"separable": False, "downsample": "stride"}, None),
    ("vit_tiny", {"depth": 1}, 105_546 - 2 * 33_472),
    ("vit_tiny", {"heads": 4}, 105_546),
    ("vit_tiny", {"width": 32}, None),
    ("vit_tiny", {"mlp_width": 64}, 105_546 - 3 * (2 * 64 * 64 + 64)),
    # Patches of 49 pixels instead of 16, and 17 tokens instead of 50.
    ("vit_tiny", {"patch": 7}, 105_546 + 33 * 64 - 33 * 64),
    ("vit_tiny", {"dropout": 0.1}, 105_546),
    ("baseline_cnn", {"widths": [4]}, None),
    ("baseline_cnn", {"dropout": 0}, 6_330),
]

NONSENSE = [  # with what the sentence must name
    ("resnet_maxi", {}, "resnet_maxi.* lenet5, resnet_mini, "),
    ("lenet5", {"wdths": 3}, "lenet5: .*'wdths'.* activation, pooling, batch_norm, dense"),
    ("lenet5", {"activation": "sigmoid"}, "activation .* tanh, relu, not 'sigmoid'"),
    ("lenet5", {"batch_norm": 1}, "batch_norm .* not 1"),
    ("lenet5", {"dense": [120]}, "dense .* 2 to 2, not 1"),
    ("resnet_mini", {"widths": []}, "widths .* at least one"),
    ("resnet_mini", {"widths": 16}, "widths .* not 16"),
    ("resnet_mini", {"widths": [4, 0]}, "each of widths .* at least 1, not 0"),
    ("resnet_mini", {"blocks_per_stage": True}, "blocks_per_stage .* not True"),
    ("densenet_tiny", {"compression": 33}, "compression 33 leaves a transition no channel"),
    ("mobilenet_lite", {"widths": 7 * [4]}, "widths .* 2 to 6, not 7"),
    ("vit_tiny", {"heads": 7}, "heads must divide the width 64, and 7 does not"),
    ("vit_tiny", {"patch": 5}, "patch must divide the image's 28 pixels, and 5 does not"),
    ("baseline_cnn", {"dropout": 1}, "dropout .* below 1, not 1"),
    ("baseline_cnn", {"dropout": float("nan")}, "dropout .* not nan"),
]


def seeded(name, seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model(name, **overrides)


def images(count=4, seed=1):
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def weights_of(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def test_models_keep_the_papers_order_titles_and_sizes():
    found = {n: (spec.title, count_parameters(build_model(n))) for n, spec in MODELS.items()}
    assert list(found.items()) == [(name, facts[:2]) for name, facts in FACTS.items()]


@pytest.mark.parametrize("name", MODELS)
def test_seed_and_defaults_decide_the_weights_and_the_logits_stay_what_they_were(name):
    assert seeded(name)(images()).square().sum().item() == pytest.approx(FACTS[name][2], rel=1e-3)
    spelled_out = seeded(name, **MODELS[name].defaults)
    assert torch.equal(weights_of(seeded(name)), weights_of(spelled_out))
    assert not torch.equal(weights_of(seeded(name, 1)), weights_of(spelled_out))


@pytest.mark.parametrize(("name", "overrides", "named"), NONSENSE)
def test_nonsense_is_refused_with_a_sentence(name, overrides, named):
    with pytest.raises(OptionError, match=named) as refusal:
        build_model(name, **overrides)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "overrides", "parameters"),
    [*((name, {}, facts[1]) for name, facts in FACTS.items()), *VARIANTS],
)
def test_every_parameter_of_every_variant_is_trained(name, overrides, parameters):
    model = seeded(name, **overrides)
    assert parameters in (None, count_parameters(model))
    torch.manual_seed(2)
    logits = model(images())
    assert logits.shape == (4, 10)
    F.cross_entropy(logits, torch.arange(4)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{parameter_name} takes no part in the logits"
        assert parameter.grad.isfinite().all(), parameter_name
    if overrides:
        torch.manual_seed(2)
        assert not torch.equal(logits, seeded(name)(images()))


def test_every_option_has_a_variant():
    tried = {(name, option) for name, overrides, _ in VARIANTS for option in overrides}
    assert tried == {(name, option) for name, spec in MODELS.items() for option in spec.defaults}


def test_lenet_puts_batch_norm_between_convolution_and_activation():
    model = build_model("lenet5", batch_norm=True)
    for stage in (model.stage1, model.stage2):
        kinds = [type(module) for module in stage]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.Tanh, nn.AvgPool2d]


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (8, 2)])
def test_residual_block_adds_its_input_only_with_a_shortcut(channels, stride):
    x = images().expand(-1, 4, -1, -1)
    for shortcut in (True, False):
        block = ResidualBlock(4, channels, stride=stride, shortcut=shortcut)
        nn.init.zeros_(block.norm2.weight)  # silences the main path
        y = block(x)
        assert y.shape == (4, channels, 28 // stride, 28 // stride)
        added = block.shortcut(x[..., ::stride, ::stride]) if shortcut else torch.zeros_like(y)
        assert torch.equal(y, added.relu())
        if shortcut and stride == 1:
            assert torch.equal(y, x.relu())


def test_dense_block_concatenates_everything_before():
    block = DenseBlock(8, growth_rate=4, layers=3, dense=True).eval()
    x = torch.randn(2, 8, 7, 7)
    y = block(x)
    assert y.shape == (2, 8 + 3 * 4, 7, 7)
    assert torch.equal(y[:, :8], x)
    for i, layer in enumerate(block.layers):
        width = 8 + 4 * i
        assert torch.equal(y[:, width : width + 4], layer(y[:, :width]))


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_mobilenets_variants_pass_the_same_shapes(separable, downsample):
    model = build_model("mobilenet_lite", separable=separable, downsample=downsample)
    x, shapes = model.stem(images()), {}
    for name, part in model.features.named_children():
        x = part(x)
        shapes[name] = tuple(x.shape[1:])
    blocks = [shape for name, shape in shapes.items() if name.startswith("block")]
    assert blocks == [(32, 28, 28), (64, 14, 14), (128, 7, 7)]
    groups = [m.groups for m in model.features.modules() if isinstance(m, nn.Conv2d)]
    assert groups == ([16, 1, 32, 1, 64, 1] if separable else [1, 1, 1])


def test_encoder_layer_equals_pytorchs_pre_norm_layer():
    ours = EncoderLayer(width=16, heads=4, mlp_width=32, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {"norm1": "norm1", "norm2": "norm2", "self_attn.out_proj": "attention.output"}
    names |= {"linear1": "mlp.0", "linear2": "mlp.3"}
    weights, kinds = ours.state_dict(), ("weight", "bias")
    theirs.load_state_dict(
        {f"{a}.{kind}": weights[f"{b}.{kind}"] for a, b in names.items() for kind in kinds}
        | {f"self_attn.in_proj_{kind}": weights[f"attention.qkv.{kind}"] for kind in kinds}
    )
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def test_patch_embedding_puts_the_class_token_first_and_keeps_reading_order():
    embedding, image = PatchEmbedding(patch=4, width=8), images(1)
    tokens = embedding(image) - embedding.positions
    assert tokens.shape == (1, 50, 8)
    torch.testing.assert_close(tokens[0, 0], embedding.class_token[0, 0])
    second_patch = embedding.project(image[:, :, 0:4, 4:8]).flatten()
    torch.testing.assert_close(tokens[0, 2], second_patch)
