"""The largest number of operations a second that GPUs are made for, as their makers print it.

Dense products of matrices in bfloat16 or float16, summed in float32. Sources: the data sheets of
NVIDIA for the products named, and the papers on their architectures (Turing, Ampere, Ada, Hopper).
Compared with the table of `lightning.fabric.utilities.throughput`: equal for A100, A10, H100 PCIe
and SXM, L4, L40, T4 and V100. Its H200 counts sparse products, twice ours, and so does its H100 NVL
by an older sheet; its RTX 3090 and 4090 do not count tensor cores.
"""

# words in the name that torch gives -> 10^12 operations a second; the first that fits counts
PEAKS = (
    (("H200", "NVL"), 835.5),
    (("H200",), 989.4),
    (("H100", "PCIe"), 756.0),
    (("H100", "NVL"), 835.5),
    (("H100",), 989.4),
    (("A100",), 312.0),
    (("A30",), 165.0),
    (("A10",), 125.0),
    (("L40S",), 362.0),
    (("L40",), 181.0),
    (("L4",), 121.0),
    (("RTX 4090",), 165.2),
    (("RTX 3090",), 71.0),
    (("V100S",), 130.0),
    (("V100", "PCIE"), 112.0),
    (("V100",), 125.0),
    (("T4",), 65.0),
)
HALVES = ("bf16", "16")  # precisions, by the word before the first dash


def peak_operations(device: str, precision: str) -> float | None:
    """Return the operations a second of a GPU, a multiply-add being two; None where unknown.

    Args:
        device: its name, as torch gives it.
        precision: of the training, `bf16-mixed`.
    """
    if precision.partition("-")[0] not in HALVES:
        return None
    words = device.replace("-", " ").split()  # whole ones: an A10 is no A100
    for wanted, peak in PEAKS:
        if all(part in words for text in wanted for part in text.split()):
            return peak * 1e12
    return None
