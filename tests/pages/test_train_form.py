"""The form on Models that trains a network: from random weights or from another network, also with LoRA."""

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.trained import trained_entry
from tests.jobs.making import trained_artifacts
from tests.pages.test_merge_page import press, texts

LIKE = "MLP 3×128 · Fashion-MNIST"


def form(open_page, **settings):
    app = open_page("models")
    app.selectbox(key="train what").set_value(LIKE).run()
    for name, value in settings.items():
        app.number_input(key=f"train set {name}").set_value(value)
    return app.run()


def test_a_network_is_trained_from_another_one(ledger, open_page):
    app = form(open_page)
    box = next(box for box in app.selectbox if box.label == "Start from")
    assert box.options[0] == "random weights" and all("3×128" in option for option in box.options[1:])
    press(box.set_value("fashion-mlp-128-s1").run(), "Train")
    (job,) = ledger.jobs(kind="train")
    assert job.request["start"]["name"] == "MLP 3×128 · Fashion-MNIST · seed 1"
    assert "from MLP 3×128 · Fashion-MNIST · seed 1" in job.request["name"]


def test_lora_needs_a_network_to_start_from(ledger, open_page):
    app = form(open_page, lora=4)
    assert "trained already" in texts(app, "error", "warning", "info")
    assert "Train" not in [button.label for button in app.button]
    box = next(box for box in app.selectbox if box.label == "Start from")
    press(box.set_value("fashion-mlp-128-s0").run(), "Train")
    (job,) = ledger.jobs(kind="train")
    assert job.request["settings"] == {"lora": 4} and job.request["start"] is not None


def test_a_setting_without_effect_cannot_be_changed_and_asks_for_no_other_training(ledger, open_page):
    app = form(open_page)
    assert all(app.number_input(key=f"train set {name}").disabled for name in ("momentum", "alpha", "part"))
    app.selectbox(key="train set optimiser").select("sgd").run()
    app.number_input(key="train set momentum").set_value(0.5).run()
    app.selectbox(key="train set split").select("dirichlet").run()
    assert not any(app.number_input(key=f"train set {name}").disabled for name in ("momentum", "alpha", "part"))
    app.selectbox(key="train set optimiser").select("adam").run()
    press(app, "Train")
    (job,) = ledger.jobs(kind="train")
    assert job.request["settings"] == {"optimiser": "adam", "split": "dirichlet"}


def test_a_training_whose_network_had_no_room_says_so(ledger, open_page):
    app = form(open_page)
    press(app, "Train")
    desk = Desk(ledger)
    claim = desk.claim(("train",))
    made = trained_artifacts(claim.request)
    assert desk.finish(claim, made, trained_entry(claim.request, claim.owner, made))
    assert "It can now be selected on Merge" in texts(app.run(), "success")
    (entry,) = ledger.models()
    ledger.delete_model(entry.id, entry.owner)
    assert "It is not among your networks" in texts(app.run(), "warning") and not app.success
