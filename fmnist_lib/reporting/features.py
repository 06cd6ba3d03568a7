"""Features read off module objects, ours or torchvision's: what the comparison tables are made of.

Modules are found by the names of their classes, so that torchvision need not be loaded for it.
"""

from collections.abc import Callable

from torch import nn

from fmnist_lib.models.describe import count_parameters

Feature = Callable[[nn.Module], str]


def of_class(model: nn.Module, *class_names: str) -> list[nn.Module]:
    """Return the modules of these classes, found by name so that torchvision need not be loaded."""
    return [module for module in model.modules() if type(module).__name__ in class_names]


def first(model: nn.Module, class_name: str) -> nn.Module:
    """Return the first module of a class, in the order of definition."""
    return of_class(model, class_name)[0]


def image(model: nn.Module, size: int) -> str:
    """Return the input in words; its channels are those the first convolution reads."""
    colours = "grey" if first(model, "Conv2d").in_channels == 1 else "RGB"
    return f"{size}×{size} {colours}"


def stem(model: nn.Module) -> str:
    """Return kernel and stride of the first convolution."""
    convolution = first(model, "Conv2d")
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    pooling = "" if "MaxPool2d" not in stem_followers(model) else ", then max pooling"
    return f"{kernel}×{kernel}, stride {stride}{pooling}"


def stem_followers(model: nn.Module) -> list[str]:
    """Return the class names of the modules between the first convolution and the second."""
    names = [type(module).__name__ for module in model.modules()]
    convolutions = [i for i, name in enumerate(names) if name == "Conv2d"]
    return names[convolutions[0] + 1 : convolutions[1]]


def initial_channels(model: nn.Module) -> str:
    """Return how many channels the first convolution makes."""
    return str(first(model, "Conv2d").out_channels)


def last_linear(model: nn.Module) -> nn.Linear:
    """Return the layer that makes the logits."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def classifier(model: nn.Module) -> str:
    """Return how many logits the last layer makes."""
    return f"FC {last_linear(model).out_features}"


def final_channels(model: nn.Module) -> str:
    """Return how many channels the classifier reads."""
    return str(last_linear(model).in_features)


def parameters(model: nn.Module) -> str:
    """Return the number of trainable weights, grouped by thousands."""
    return f"{count_parameters(model):,}"


def residual_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks that have a shortcut around them."""
    return of_class(model, "ResidualBlock", "BasicBlock", "Bottleneck")


def block_convolutions(model: nn.Module) -> str:
    """Return how many convolutions a residual block has on its main path."""
    children = residual_blocks(model)[0].children()
    return str(sum(isinstance(child, nn.Conv2d) for child in children))


def dense_blocks(model: nn.Module) -> list[list[nn.Module]]:
    """Return the layers of each dense block."""
    blocks = of_class(model, "DenseBlock", "_DenseBlock")
    return [list(getattr(block, "layers", block).children()) for block in blocks]


def layers_per_block(model: nn.Module) -> str:
    """Return the number of layers of each dense block, once if all agree."""
    return ", ".join(str(n) for n in dict.fromkeys(len(block) for block in dense_blocks(model)))


def dense_layer(model: nn.Module) -> str:
    """Return the kernels of one dense layer."""
    convolutions = of_class(dense_blocks(model)[0][0], "Conv2d")
    return ", ".join("{}×{}".format(*convolution.kernel_size) for convolution in convolutions)


def growth_rate(model: nn.Module) -> str:
    """Return how many channels a dense layer adds."""
    return str(of_class(dense_blocks(model)[0][0], "Conv2d")[-1].out_channels)


def transitions(model: nn.Module) -> list[nn.Module]:
    """Return the parts that join dense blocks."""
    return [m for name, m in model.named_modules() if "transition" in name.rpartition(".")[2]]


def compression(model: nn.Module) -> str:
    """Return by what a transition divides the channels."""
    convolution = first(transitions(model)[0], "Conv2d")
    return f"{convolution.in_channels / convolution.out_channels:g}"


def depthwise_blocks(model: nn.Module) -> str:
    """Return the number of convolutions that filter each channel alone."""
    return str(sum(1 < conv.groups == conv.in_channels for conv in of_class(model, "Conv2d")))


def halvings(model: nn.Module) -> str:
    """Return how often the resolution is halved, and by what."""
    by_stride = sum(convolution.stride[0] == 2 for convolution in of_class(model, "Conv2d"))
    counts = {"stride": by_stride, "max pooling": len(of_class(model, "MaxPool2d"))}
    return ", ".join(f"{count} by {means}" for means, count in counts.items() if count)


def global_pooling(model: nn.Module) -> str:
    """Return whether the maps are averaged to one value a channel before the classifier."""
    return "yes" if of_class(model, "AdaptiveAvgPool2d") else "no"


def attention_heads(model: nn.Module) -> int:
    """Return the heads of one attention."""
    if ours := of_class(model, "SelfAttention"):
        return ours[0].heads
    return first(model, "MultiheadAttention").num_heads


def encoder_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers of the encoder."""
    return of_class(model, "EncoderLayer", "EncoderBlock")


def mlp_width(model: nn.Module) -> str:
    """Return the hidden width of an encoder layer's perceptron."""
    return str(first(encoder_layers(model)[0].mlp, "Linear").out_features)


def tokens(model: nn.Module) -> str:
    """Return the length of the sequence, class token included, from its learned positions."""
    shapes = [p.shape for name, p in model.named_parameters() if "pos" in name.rpartition(".")[2]]
    return str(shapes[0][1])


def patch_size(model: nn.Module) -> str:
    """Return the pixels of a patch: the kernel of the embedding convolution."""
    return "{}×{}".format(*first(model, "Conv2d").kernel_size)


FEATURES: dict[str, dict[str, Feature]] = {
    "resnet_mini": {
        "Stem convolution": stem,
        "Initial channels": initial_channels,
        "Residual blocks": lambda model: str(len(residual_blocks(model))),
        "Convolutions per block": block_convolutions,
        "Final channels": final_channels,
        "Classifier head": classifier,
        "Parameters": parameters,
    },
    "densenet_tiny": {
        "Stem convolution": stem,
        "Initial channels": initial_channels,
        "Dense blocks": lambda model: str(len(dense_blocks(model))),
        "Layers per block": layers_per_block,
        "Convolutions per layer": dense_layer,
        "Growth rate": growth_rate,
        "Transitions": lambda model: str(len(transitions(model))),
        "Compression factor": compression,
        "Final channels": final_channels,
        "Classifier head": classifier,
        "Parameters": parameters,
    },
    "mobilenet_lite": {
        "Stem convolution": stem,
        "Initial channels": initial_channels,
        "Depthwise-separable blocks": depthwise_blocks,
        "Halvings of the resolution": halvings,
        "Final channels": final_channels,
        "Global average pooling": global_pooling,
        "Classifier head": classifier,
        "Parameters": parameters,
    },
    "vit_tiny": {
        "Patch size": patch_size,
        "Tokens, class token included": tokens,
        "Embedding dimension": initial_channels,
        "Attention heads": lambda model: str(attention_heads(model)),
        "Dimensions per head": lambda m: str(first(m, "Conv2d").out_channels // attention_heads(m)),
        "Encoder layers": lambda model: str(len(encoder_layers(model))),
        "MLP hidden dimension": mlp_width,
        "Classifier head": classifier,
        "Parameters": parameters,
    },
}
