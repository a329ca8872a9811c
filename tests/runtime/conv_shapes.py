"""Layer shapes of the MLPerf Tiny networks resnet8, ds_cnn and autoencoder, with 16 values."""

from tests.runtime.conv_reference import ConvLayer, conv, make_layer

SAME3 = (1, 1, 1, 1)
LATER = (0, 0, 1, 1)


def network_layers() -> list[ConvLayer]:
    """One layer of each shape, seeded; activations end at zero point -128 as after a ReLU."""
    shapes = {
        "resnet8 3x3 3->16 32x32": conv((32, 32, 3), 16, (3, 3), pads=SAME3),
        "resnet8 3x3 16->16 32x32": conv((32, 32, 16), 16, (3, 3), pads=SAME3),
        "resnet8 3x3 16->32 /2": conv((32, 32, 16), 32, (3, 3), stride=(2, 2), pads=LATER),
        "resnet8 3x3 32->32 16x16": conv((16, 16, 32), 32, (3, 3), pads=SAME3),
        "resnet8 1x1 16->32 /2": conv((32, 32, 16), 32, stride=(2, 2)),
        "resnet8 3x3 32->64 /2": conv((16, 16, 32), 64, (3, 3), stride=(2, 2), pads=LATER),
        "resnet8 3x3 64->64 8x8": conv((8, 8, 64), 64, (3, 3), pads=SAME3),
        "resnet8 1x1 32->64 /2": conv((16, 16, 32), 64, stride=(2, 2)),
        "resnet8 dense 64->10": conv((1, 1, 64), 10),
        "ds_cnn 10x4 1->64 /2": conv((49, 10, 1), 64, (10, 4), stride=(2, 2), pads=(4, 1, 5, 1)),
        "ds_cnn dw 3x3 64 25x5": conv((25, 5, 64), 64, (3, 3), pads=SAME3, groups=64),
        "ds_cnn 1x1 64->64 25x5": conv((25, 5, 64), 64),
        "ds_cnn dense 64->12": conv((1, 1, 64), 12),
        "autoencoder dense 640->128": conv((1, 1, 640), 128),
        "autoencoder dense 128->128": conv((1, 1, 128), 128),
        "autoencoder dense 128->8": conv((1, 1, 128), 8),
        "autoencoder dense 8->128": conv((1, 1, 8), 128),
        "autoencoder dense 128->640": conv((1, 1, 128), 640),
        "mobilenet 1x1 128->256 6x6": conv((6, 6, 128), 256),
        "mobilenet dw 3x3 8 48x48": conv((48, 48, 8), 8, (3, 3), pads=SAME3, groups=8),
        "mobilenet dw 3x3 16 /2 48x48": conv(
            (48, 48, 16), 16, (3, 3), stride=(2, 2), pads=LATER, groups=16
        ),
    }
    return [make_layer(name, shape, values=16, seed=1) for name, shape in shapes.items()]
