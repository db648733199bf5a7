"""The callback of Hugging Face's Trainer, with the real trainer and a real model."""

import pytest
import torch
from torch import nn

from exnihilo.errors import UntrainableError
from torchvision_shim import define_missing_operators

_KEPT = define_missing_operators()  # they live as long as the library that defines them
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

# What the packages themselves warn of.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

SIZES = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}


def trained(tmp_path, *, zero, callbacks):
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, bos_token_id=1, eos_token_id=2))
    if zero:
        nn.init.zeros_(model.transformer.h[0].attn.c_attn.weight)
        nn.init.zeros_(model.transformer.h[0].attn.c_attn.bias)
    ids = torch.randint(3, 64, (32, 12), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in ids]
    options = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=6, per_device_train_batch_size=8, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, seed=0, learning_rate=1e-3,
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=options, train_dataset=data, callbacks=callbacks)
    trainer.train()
    return model


def test_a_healthy_run_goes_on_bit_for_bit(tmp_path):
    from exnihilo.integrations.huggingface import CheckFirstBatchCallback

    callback = CheckFirstBatchCallback()
    checked = trained(tmp_path, zero=False, callbacks=[callback])
    plain = trained(tmp_path, zero=False, callbacks=[])
    assert callback.diagnosis is not None
    assert callback.diagnosis.ok
    for a, b in zip(checked.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_that_cannot_learn_stops_before_its_first_step(tmp_path):
    from exnihilo.integrations.huggingface import CheckFirstBatchCallback

    with pytest.raises(UntrainableError, match=r"transformer\.h\.0\.attn\.c_attn\.weight"):
        trained(tmp_path, zero=True, callbacks=[CheckFirstBatchCallback()])
