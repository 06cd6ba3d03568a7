"""The six models: their sizes, their options, and that they compute what they claim."""

import ast
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fmnist_lib import models
from fmnist_lib.models import MODELS, OptionError, build_model
from fmnist_lib.models.densenet_tiny import DenseBlock, PlainBlock
from fmnist_lib.models.describe import count_parameters, layers
from fmnist_lib.models.resnet_mini import ResidualBlock
from fmnist_lib.models.vit_tiny import EncoderLayer, PatchEmbedding, SelfAttention
from fmnist_lib.reporting.originals import compare_with_original, mobilenet_v1

PARAMETERS = {
    "lenet5": 61_706,
    "resnet_mini": 11_402,
    "densenet_tiny": 11_666,
    "mobilenet_lite": 14_218,
    "vit_tiny": 105_546,
    "baseline_cnn": 6_330,
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
    ("densenet_tiny", {"dense": False, "layers_per_block": 1}, None),
    ("densenet_tiny", {"stem_width": 16}, None),
    ("densenet_tiny", {"compression": 2}, None),
    ("mobilenet_lite", {"widths": [8, 16]}, None),
    ("mobilenet_lite", {"widths": [4, 4, 4, 4, 4, 4]}, None),
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

NONSENSE = [
    ("lenet5", {"activation": "sigmoid"}, "lenet5: activation must be one of tanh, relu, not 's"),
    ("lenet5", {"pooling": ["max"]}, "pooling must be one of average, max"),
    ("lenet5", {"batch_norm": 1}, "batch_norm must be true or false, not 1"),
    ("resnet_mini", {"widths": []}, "the length of widths must be at least 1, not 0"),
    ("resnet_mini", {"widths": 16}, "widths must be a list of whole numbers, not 16"),
    ("resnet_mini", {"widths": "16"}, "widths must be a list of whole numbers, not '16'"),
    ("resnet_mini", {"widths": [4, 0]}, "each of widths must be a whole number of at least 1"),
    ("resnet_mini", {"widths": [4, 8.0]}, "each of widths must be a whole number"),
    ("resnet_mini", {"blocks_per_stage": 0}, "blocks_per_stage must be .* not 0"),
    ("resnet_mini", {"blocks_per_stage": True}, "blocks_per_stage must be .* not True"),
    ("resnet_mini", {"shortcuts": "no"}, "shortcuts must be true or false, not 'no'"),
    ("densenet_tiny", {"growth_rate": 0}, "growth_rate must be a whole number of at least 1"),
    ("densenet_tiny", {"layers_per_block": -1}, "layers_per_block must be"),
    ("densenet_tiny", {"dense": None}, "dense must be true or false, not None"),
    ("densenet_tiny", {"compression": 33}, "compression 33 leaves a transition no channel"),
    ("mobilenet_lite", {"widths": [16]}, "the length of widths must be 2 to 6, not 1"),
    ("mobilenet_lite", {"widths": 7 * [4]}, "the length of widths must be 2 to 6, not 7"),
    ("mobilenet_lite", {"separable": 0}, "separable must be true or false, not 0"),
    ("mobilenet_lite", {"downsample": "crop"}, "downsample must be one of pool, stride"),
    ("vit_tiny", {"heads": 7}, "heads must divide the width 64, and 7 does not"),
    ("vit_tiny", {"patch": 5}, "patch must divide the image's 28 pixels, and 5 does not"),
    ("vit_tiny", {"depth": 0}, "depth must be"),
    ("vit_tiny", {"width": "64"}, "width must be a whole number of at least 1, not '64'"),
    ("vit_tiny", {"mlp_width": 1.5}, "mlp_width must be"),
    ("vit_tiny", {"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
    ("baseline_cnn", {"dropout": 1}, "dropout must be at least 0 and below 1, not 1"),
    ("baseline_cnn", {"dropout": float("nan")}, "dropout must be at least 0 and below 1"),
    ("baseline_cnn", {"dropout": "0.2"}, "dropout must be at least 0 and below 1"),
    ("baseline_cnn", {"widths": ()}, "the length of widths must be 1 to 4, not 0"),
    ("baseline_cnn", {"widths": 5 * [8]}, "the length of widths must be 1 to 4, not 5"),
]

each_model = pytest.mark.parametrize("name", MODELS)


def seeded(name, seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model(name, **overrides)


def images(count=4, seed=1):
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def assert_trains(model):
    logits = model(images())
    assert logits.shape == (4, 10)
    F.cross_entropy(logits, torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} takes no part in the logits"
        assert parameter.grad.isfinite().all(), name


# --- The registry ------------------------------------------------------------------------------


def test_models_keep_the_papers_order_and_titles():
    assert {name: spec.title for name, spec in MODELS.items()} == {
        "lenet5": "LeNet-5",
        "resnet_mini": "ResNet-Mini",
        "densenet_tiny": "DenseNet-Tiny",
        "mobilenet_lite": "MobileNet-Lite",
        "vit_tiny": "ViT-Tiny",
        "baseline_cnn": "Custom CNN",
    }
    assert list(MODELS) == list(PARAMETERS)


def test_registry_cannot_be_changed():
    with pytest.raises(TypeError):
        MODELS["lenet5"] = MODELS["vit_tiny"]


@each_model
def test_defaults_are_what_a_model_is_built_with(name):
    defaults = MODELS[name].defaults
    assert defaults
    plain, spelled_out = seeded(name), seeded(name, **defaults)
    assert_same_weights(plain, spelled_out)


def test_unknown_model_names_the_allowed_ones():
    with pytest.raises(OptionError) as refusal:
        build_model("resnet_maxi")
    assert "resnet_maxi" in str(refusal.value)
    assert all(name in str(refusal.value) for name in MODELS)


@each_model
def test_unknown_option_names_the_allowed_ones(name):
    with pytest.raises(ValueError, match=f"{name} has no option 'wdths'") as refusal:
        build_model(name, wdths=3)
    assert all(option in str(refusal.value) for option in MODELS[name].defaults)


@pytest.mark.parametrize(("name", "overrides", "sentence"), NONSENSE)
def test_nonsense_is_refused_with_a_sentence(name, overrides, sentence):
    with pytest.raises(OptionError, match=sentence) as refusal:
        build_model(name, **overrides)
    assert "\n" not in str(refusal.value)


def test_options_can_be_checked_without_drawing_weights():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with torch.device("meta"):
        assert all(next(build_model(name).parameters()).is_meta for name in MODELS)
        with pytest.raises(OptionError):
            build_model("vit_tiny", heads=7)
    assert torch.equal(torch.get_rng_state(), before)


# --- Every model -------------------------------------------------------------------------------


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@each_model
def test_parameter_count(name):
    model = build_model(name)
    assert count_parameters(model) == PARAMETERS[name]
    assert all(parameter.requires_grad for parameter in model.parameters())


@each_model
def test_every_parameter_gets_a_finite_gradient(name):
    assert_trains(seeded(name))


@each_model
def test_seed_decides_the_weights(name):
    assert_same_weights(seeded(name, 3), seeded(name, 3))
    one, other = next(seeded(name, 3).parameters()), next(seeded(name, 4).parameters())
    assert not torch.equal(one, other)


@each_model
@torch.no_grad()
def test_evaluation_is_deterministic_and_image_by_image(name):
    model = seeded(name).eval()
    batch = images(3)
    together = model(batch)
    assert torch.equal(together, model(batch))
    one_by_one = torch.cat([model(image[None]) for image in batch])
    torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-5)


@each_model
def test_weights_survive_a_round_trip(name):
    model, other = seeded(name, 0), seeded(name, 1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(images()), other.eval()(images()))


@pytest.mark.parametrize(("name", "overrides", "parameters"), VARIANTS)
def test_variant_builds_trains_and_differs(name, overrides, parameters):
    model = seeded(name, **overrides)
    if parameters is not None:
        assert count_parameters(model) == parameters
    assert_trains(model)
    torch.manual_seed(2)
    varied = seeded(name, **overrides)(images())
    assert not torch.equal(varied, seeded(name)(images()))


def test_every_option_has_a_variant():
    tried = {(name, option) for name, overrides, _ in VARIANTS for option in overrides}
    assert tried == {(name, option) for name, spec in MODELS.items() for option in spec.defaults}


# --- What each claims --------------------------------------------------------------------------


def test_lenet_puts_batch_norm_between_convolution_and_activation():
    stages = [seeded("lenet5", batch_norm=True).stage1, seeded("lenet5", batch_norm=True).stage2]
    for stage in stages:
        kinds = [type(module) for module in stage]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.Tanh, nn.AvgPool2d]


def test_residual_block_adds_its_input_only_with_a_shortcut():
    x = images().expand(-1, 4, -1, -1).relu()
    for shortcut, expected in ((True, x), (False, torch.zeros_like(x))):
        block = ResidualBlock(4, 4, stride=1, shortcut=shortcut)
        nn.init.zeros_(block.norm2.weight)  # silences the main path
        assert torch.equal(block(x), expected)


def test_projection_shortcut_carries_the_input_where_shapes_change():
    block = ResidualBlock(4, 8, stride=2, shortcut=True)
    nn.init.zeros_(block.norm2.weight)
    x = images().expand(-1, 4, -1, -1)
    assert torch.equal(block(x), block.shortcut(x[..., ::2, ::2]).relu())
    assert block(x).shape == (4, 8, 14, 14)


def test_dense_block_concatenates_everything_before():
    block = DenseBlock(8, growth_rate=4, layers=3).eval()
    x = torch.randn(2, 8, 7, 7)
    y = block(x)
    assert y.shape == (2, 8 + 3 * 4, 7, 7)
    assert torch.equal(y[:, :8], x)
    for i, dense_layer in enumerate(block.layers):
        width = 8 + 4 * i
        assert torch.equal(y[:, width : width + 4], dense_layer(y[:, :width]))


@pytest.mark.parametrize("growth_rate", [4, 8, 12, 16])
@pytest.mark.parametrize("num_layers", [1, 2, 3, 4, 6])
def test_plain_block_costs_what_the_dense_block_costs(growth_rate, num_layers):
    def convolution_weights(block):
        return sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))

    dense = DenseBlock(8, growth_rate=growth_rate, layers=num_layers)
    plain = PlainBlock(8, growth_rate=growth_rate, layers=num_layers)
    assert plain(torch.randn(2, 8, 7, 7)).shape == (2, plain.channels_out, 7, 7)
    # Exact in the paper's case; elsewhere as near as a whole number of channels comes.
    tolerance = 0 if (growth_rate, num_layers) == (8, 3) else 0.12
    assert convolution_weights(plain) == pytest.approx(convolution_weights(dense), rel=tolerance)


@pytest.mark.parametrize("separable", [True, False])
def test_both_downsamplings_of_mobilenet_pass_the_same_shapes(separable):
    def block_shapes(downsample):
        model = build_model("mobilenet_lite", separable=separable, downsample=downsample)
        rows = layers(model, depth=2)
        return [row["output_shape"] for row in rows if "block" in row["name"]]

    assert block_shapes("pool") == [(32, 28, 28), (64, 14, 14), (128, 7, 7)]
    assert block_shapes("stride") == [(32, 28, 28), (64, 14, 14), (128, 7, 7)]


def test_mobilenet_filters_each_channel_alone_unless_told_otherwise():
    def groups(**overrides):
        modules = build_model("mobilenet_lite", **overrides).features.modules()
        return [module.groups for module in modules if isinstance(module, nn.Conv2d)]

    assert groups() == [16, 1, 32, 1, 64, 1]
    assert groups(separable=False) == [1, 1, 1]


def test_attention_equals_pytorchs():
    ours = SelfAttention(width=16, heads=4)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    assert count_parameters(ours) == count_parameters(theirs)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x = torch.randn(2, 5, 16)
    expected, _ = theirs(x, x, x, need_weights=False)
    torch.testing.assert_close(ours(x), expected)


def test_encoder_layer_equals_pytorchs_pre_norm_layer():
    ours = EncoderLayer(width=16, heads=4, mlp_width=32, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    weights, kinds = ours.state_dict(), ("weight", "bias")
    names = {
        "norm1": "norm1",
        "norm2": "norm2",
        "self_attn.out_proj": "attention.output",
        "linear1": "mlp.0",
        "linear2": "mlp.3",
    }
    theirs.load_state_dict(
        {f"{a}.{kind}": weights[f"{b}.{kind}"] for a, b in names.items() for kind in kinds}
        | {f"self_attn.in_proj_{kind}": weights[f"attention.qkv.{kind}"] for kind in kinds}
    )
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def test_patch_embedding_puts_the_class_token_first_and_keeps_reading_order():
    embedding = PatchEmbedding(patch=4, width=8)
    nn.init.zeros_(embedding.positions)
    image = images(1)
    tokens = embedding(image)
    assert tokens.shape == (1, 50, 8)
    assert torch.equal(tokens[0, 0], embedding.class_token[0, 0])
    second_patch = embedding.project(image[:, :, 0:4, 4:8]).flatten()
    torch.testing.assert_close(tokens[0, 2], second_patch)


def test_class_token_and_positions_start_small():
    embedding = seeded("vit_tiny", width=1024).embedding  # wide, for a steady estimate
    for parameter in (embedding.class_token, embedding.positions):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
        assert abs(parameter.mean().item()) < 0.002


def test_dropout_acts_in_training_alone():
    for name in ("vit_tiny", "baseline_cnn"):
        model = seeded(name, dropout=0.5)
        assert not torch.equal(model(images()), model(images()))


# --- Descriptions ------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("depth", [1, 2, 3, None])
def test_layers_add_up_to_the_model(name, depth):
    model = seeded(name)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    rows = layers(model, depth=depth)
    assert sum(row["parameters"] for row in rows) == PARAMETERS[name]
    assert rows[-1]["output_shape"] == (10,)
    assert len({row["name"] for row in rows}) == len(rows)
    assert model.training, "the mode is put back"
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_show_shapes_where_they_change():
    rows = layers(build_model("densenet_tiny"), depth=2)
    assert [(row["name"], row["type"], row["output_shape"], row["parameters"]) for row in rows] == [
        ("stem", "Conv2d", (8, 28, 28), 80),
        ("features.block1", "DenseBlock", (32, 28, 28), 3576),
        ("features.transition1", "Sequential", (8, 14, 14), 264),
        ("features.block2", "DenseBlock", (32, 14, 14), 3576),
        ("features.transition2", "Sequential", (8, 7, 7), 264),
        ("features.block3", "DenseBlock", (32, 7, 7), 3576),
        ("pool", "AdaptiveAvgPool2d", (32, 1, 1), 0),
        ("classifier", "Linear", (10,), 330),
    ]


def test_comparison_reads_the_papers_appendix_off_the_models():
    # (original, lite) as the appendix prints them, but for those the report disputes: ResNet's 16
    # initial channels and 34–101 residual blocks, DenseNet-121's own layers per block.
    expected = {
        "lenet5": {
            "Input": ("32×32 grey", "28×28 grey, padded by 2"),
            "Convolution kernels": ("6 and 16 of 5×5", "6 and 16 of 5×5"),
            "Activation": ("scaled tanh", "tanh"),
            "Dense layers": ("120 → 84", "120 → 84"),
        },
        "resnet_mini": {
            "Input": ("224×224 RGB", "28×28 grey"),
            "Initial channels": ("64", "4"),
            "Residual blocks": ("16–33", "6"),
            "Stem convolution": ("7×7, stride 2, then max pooling", "1×1, stride 1"),
        },
        "densenet_tiny": {
            "Dense blocks": ("4", "3"),
            "Layers per block": ("6, 12, 24, 16", "3"),
            "Growth rate": ("32", "8"),
            "Initial channels": ("64", "8"),
            "Transitions": ("3", "2"),
            "Compression factor": ("2", "4"),
            "Classifier head": ("FC 1000", "FC 10"),
        },
        "mobilenet_lite": {
            "Depthwise-separable blocks": ("13", "3"),
            "Initial channels": ("32", "16"),
            "Final channels": ("1024", "128"),
            "Global average pooling": ("yes", "yes"),
            "Halvings of the resolution": ("5 by stride", "2 by max pooling"),
        },
        "vit_tiny": {
            "Patch size": ("16×16", "4×4"),
            "Embedding dimension": ("768", "64"),
            "Attention heads": ("12", "8"),
            "Encoder layers": ("12", "3"),
            "MLP hidden dimension": ("3072", "128"),
            "Tokens, class token included": ("197", "50"),
        },
    }
    for name, features in expected.items():
        rows = {
            row["feature"]: (row["original"], row["lite"]) for row in compare_with_original(name)
        }
        assert rows["Model"][1] == MODELS[name].title
        assert PARAMETERS[name] == int(rows["Parameters"][1].replace(",", ""))
        for feature, pair in features.items():
            assert rows[feature] == pair, feature


def test_custom_cnn_has_no_original():
    assert compare_with_original("baseline_cnn") == []


def test_comparison_of_an_unknown_model_is_refused():
    with pytest.raises(OptionError, match="unknown model"):
        compare_with_original("resnet_maxi")


def test_rebuilt_mobilenet_has_the_published_size_and_shape():
    with torch.device("meta"):
        original = mobilenet_v1()
        assert count_parameters(original) == 4_231_976  # its paper says 4.2 million
        last_maps = original[:-3](torch.empty(1, 3, 224, 224))
    assert last_maps.shape == (1, 1024, 7, 7)


# --- The room's walls --------------------------------------------------------------------------


def imported(path, tree):
    """Yield every module that a tree imports, relative ones as this package's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path} reaches outside its package"
            yield "fmnist_lib.models" if node.level else node.module


def test_models_import_torch_alone():
    folder = Path(models.__file__).parent
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "originals.py":  # may take torchvision, but only when asked for an original
            functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            assert any("torchvision" in " ".join(imported(path, node)) for node in functions)
            tree.body = [node for node in tree.body if node not in functions]
        for module in imported(path, tree):
            package = module.partition(".")[0]
            inside = module.startswith("fmnist_lib.models")
            assert inside or package == "torch" or package in sys.stdlib_module_names, (
                f"{path.name} imports {module}"
            )
