"""How fast clip-retrieval's inference is: run by ``benchmarks.indexing --clip-retrieval PYTHON``, with that Python.

    python benchmarks/clip_retrieval.py FOLDER MODEL WEIGHTS

PYTHON is the interpreter of an environment of its own that has clip-retrieval (``pip install clip-retrieval``). FOLDER
holds the pictures, MODEL is open_clip's name, WEIGHTS a file of them. Prints the seconds that it took from the first
picture to the written embeddings; loading the model is not counted.
"""

import sys
import tempfile
import time


def main(folder: str, model: str, weights: str) -> None:
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import FilesReader
    from clip_retrieval.clip_inference.writer import NumpyWriter

    name = f"open_clip:{model}/{weights}"
    mapper = ClipMapper(True, False, False, False, name, False, "")
    from all_clip import load_clip

    _, preprocess, tokenizer = load_clip(clip_model=name, use_jit=False)
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        reader = FilesReader(lambda keys: keys, preprocess, tokenizer, folder, 256, 2, enable_text=False)
        writer = NumpyWriter(0, output, False, True, False, 1)
        for batch in reader:
            writer(mapper(batch))
        writer.flush()
        print(time.perf_counter() - start)


if __name__ == "__main__":
    sys.path = [path for path in sys.path if not path.endswith("benchmarks")]  # this file has the package's name
    main(*sys.argv[1:])
