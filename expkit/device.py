"""Chooses the device of a run."""

from __future__ import annotations

from expkit.errors import DeviceError
from expkit.paddle_import import import_paddle


def select(name: str, index: int = 0, threads: int = 1) -> str:
    """Make Paddle use a device and return its name, "cpu" or "gpu:0".

    Args:
        name: "auto", "cpu" or "gpu".
        index: which GPU.
        threads: CPU threads of Paddle's own operators.

    Raises:
        DeviceError: a GPU is asked for and there is none, or not that many.
    """
    paddle = import_paddle()
    if not paddle.in_dynamic_mode():  # by the program that calls us, or for it imported Paddle in a thread that is gone
        paddle.disable_static()
    paddle.base.core.set_num_threads(threads)
    gpus = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    if name == "gpu" or (name == "auto" and gpus):
        if not paddle.device.is_compiled_with_cuda():
            raise DeviceError(
                f"device=gpu: this Paddle ({paddle.__version__}) is the CPU build. Use device=cpu, or install Paddle's "
                "GPU build in place of it (README, 'On a GPU')."
            )
        if index >= gpus:
            raise DeviceError(
                f"device=gpu device.index={index}: Paddle sees {gpus} GPU{'s' * (gpus != 1)}. "
                f"Use {f'an index below {gpus}' if gpus else 'device=cpu'}, and see what `nvidia-smi` and "
                "CUDA_VISIBLE_DEVICES say."
            )
        paddle.set_device(f"gpu:{index}")
        return f"gpu:{index}"
    paddle.set_device("cpu")
    return "cpu"
