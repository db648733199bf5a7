"""The Lightning callback, with the real trainer."""

import pytest
import torch
from torch import nn

from exnihilo.errors import InvalidValueError, UntrainableError
from torchvision_shim import define_missing_operators

_KEPT = define_missing_operators()  # they live as long as the library that defines them
pl = pytest.importorskip("lightning.pytorch")
from exnihilo.integrations.lightning import CheckFirstBatch  # noqa: E402  # needs lightning

# What lightning itself warns of: workers of a data loader, a missing logger, a path of its own.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


class Module(pl.LightningModule):
    def __init__(self, zero):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        if zero:
            nn.init.zeros_(self.net[0].weight)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def fitted(tmp_path, *, zero, callbacks, kind=Module):
    torch.manual_seed(0)
    module = kind(zero)
    x = torch.randn(64, 4)
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=2, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, loader)
    return module


def test_a_healthy_run_goes_on_bit_for_bit(tmp_path):
    callback = CheckFirstBatch()
    checked = fitted(tmp_path, zero=False, callbacks=[callback])
    plain = fitted(tmp_path, zero=False, callbacks=[])
    assert callback.diagnosis is not None
    assert callback.diagnosis.ok
    assert callback.diagnosis.facts.optimizer == "Adam, lr 0.01"
    for a, b in zip(checked.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_module_that_cannot_learn_stops_before_its_first_step(tmp_path):
    with pytest.raises(UntrainableError, match="stuck-saddle"):
        fitted(tmp_path, zero=True, callbacks=[CheckFirstBatch()])


def test_it_may_warn_instead(tmp_path):
    with pytest.warns(UserWarning, match="does not pass its check"):
        fitted(tmp_path, zero=True, callbacks=[CheckFirstBatch(on_fail="warn")])


def test_what_to_do_must_be_known():
    with pytest.raises(InvalidValueError, match="must be 'raise' or 'warn'"):
        CheckFirstBatch(on_fail="stop")


class WithoutIndex(Module):
    """A step that names its second argument as it likes, reads the trainer, and logs."""

    def training_step(self, batch, i):
        assert self.trainer.global_step >= 0
        self.log_dict({"loss": torch.tensor(float(i))})
        return super().training_step(batch, i)


class Skipping(Module):
    def training_step(self, batch, batch_idx):
        return None if batch_idx == 0 else super().training_step(batch, batch_idx)


class ByHand(Module):
    def __init__(self, zero):
        super().__init__(zero)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(nn.functional.cross_entropy(self.net(batch[0]), batch[1]))
        optimizer.step()


class Quasi(Module):
    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", [WithoutIndex, Skipping, Quasi])
def test_healthy_runs_of_other_forms_are_checked_and_go_on(tmp_path, kind):
    callback = CheckFirstBatch()
    module = fitted(tmp_path, zero=False, callbacks=[callback], kind=kind)
    assert callback.diagnosis is not None
    assert callback.diagnosis.ok
    assert module.trainer.global_step > 0


@pytest.mark.parametrize("on_fail", ["raise", "warn"])
def test_a_run_that_cannot_be_checked_goes_on_with_a_warning(tmp_path, on_fail):
    callback = CheckFirstBatch(on_fail=on_fail)
    with pytest.warns(UserWarning, match="goes on unchecked"):
        module = fitted(tmp_path, zero=False, callbacks=[callback], kind=ByHand)
    assert callback.diagnosis is None
    assert module.trainer.global_step > 0
