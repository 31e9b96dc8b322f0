#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A random forest on exactly the flows of a trained model, and both side by side.

    accuracy_forest.py fold N WORK DUMP    train the forest of fold N, unless WORK has it; tell both
    accuracy_forest.py sum WORK N...       tell of all folds together

WORK has, for each fold, fold-N.safetensors, the model as `nmtrain finetune` wrote it, and
fold-N.json, its report by `nmtrain eval`. DUMP is the data set as `nmtrain dataset dump` writes it.

The model's file says which flows trained (folds, classes, limits, seed): the forest gets the same,
and is judged on the same, by the same definitions. Macro-F1 is the mean over the classes that have
test flows; folds are pooled by adding up their confusions, never by averaging F1. Unknown are test
flows of a class that the model does not have; the forest's score is 1 - its largest probability.
"""

import argparse
import json
import math
import os
import struct
import sys
from collections import Counter

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

UNLISTED = "unlisted"
# The best of what was tried on data of 7,600 flows, five folds pooled (macro-F1, accuracy): a tenth
# of the features a split .557 .839; their square root .542 .831; ExtraTrees, square root .544 .822.
FOREST = {
    "n_estimators": 400,
    "max_features": 0.1,
    "class_weight": "balanced_subsample",
    "random_state": 1,
}
DTYPES = {"U8": np.uint8, "F32": np.float32, "I64": np.int64}


def read_header(path):
    with open(path, "rb") as file:
        (n,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(n)), 8 + n


def read_dump(path):
    """Arrays by name, and the names of the classes."""
    header, start = read_header(path)
    classes = json.loads(header.pop("__metadata__")["classes"])
    arrays = {}
    for name, at in header.items():
        begin, end = at["data_offsets"]
        raw = np.fromfile(path, np.uint8, end - begin, offset=start + begin)
        arrays[name] = raw.view(DTYPES[at["dtype"]]).reshape(at["shape"])
    return arrays, classes


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path, value):
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(path + ".part", path)


def features(dump):
    """Debiased bytes of the first packets, signed sizes, times on a logarithmic scale."""
    flows = len(dump["class"])
    times = np.log10(1 + dump["times"] * 1e6)
    return np.hstack([dump["bytes"].reshape(flows, -1), dump["sizes"], times]).astype(np.float32)


# ---- the model's flows ---------------------------------------------------------------------------
def splitmix(state):
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return state, z ^ z >> 31


def luck_of(seed, flow):
    """The first number of rng_stream(seed, flow, 0) in model/rng.h."""
    mask = (1 << 64) - 1
    state = splitmix(seed)[1] ^ (flow + 1) * 0xD1342543DE82EF95 & mask
    state = splitmix(state)[1] ^ 0x2545F4914F6CDD1D
    return splitmix(splitmix(state)[0])[1]


def limit_classes(flows, dump, run):
    """As agent/nmtrain/train_data.c chooses: each capture's first by luck, then each one's second."""
    label, capture = dump["class"], dump["capture"]
    luck = {flow: luck_of(run["seed"], int(flow)) for flow in flows}
    rank, seen, taken, kept = {}, Counter(), Counter(), []
    for flow in sorted(flows, key=luck.get):
        rank[flow] = seen[label[flow], capture[flow]]
        seen[label[flow], capture[flow]] += 1
    for flow in sorted(flows, key=lambda flow: (rank[flow], luck[flow])):
        taken[label[flow]] += 1
        if taken[label[flow]] <= run["max_flows_per_class"]:
            kept.append(flow)
    return np.array(sorted(kept))


def split(dump, classes, model):
    """Flows that train, known flows that test, unknown ones that test."""
    data, run = model["training"]["data"], model["training"]["settings"]["train"]
    known = np.isin(dump["class"], [classes.index(name) for name in model["classes"]])
    trains = known & (dump["n_packets"] >= run["min_packets"])
    for kept_back in ("test_fold", "validation_fold"):
        trains &= dump["fold"] != data[kept_back]
    tests = (dump["fold"] == data["test_fold"]) & (dump["class"] >= 0)
    train = np.flatnonzero(trains)
    if run["max_flows_per_class"]:
        train = limit_classes(train, dump, run)
    return train, np.flatnonzero(tests & known), np.flatnonzero(tests & ~known)


def check_flows(report, model, train, known, unknown):
    """Comparing on other flows would be worse than not comparing."""
    theirs = report["models"][0]["flows"]
    pairs = [
        ("training flows", model["training"]["data"]["train_flows"], len(train)),
        ("known test flows", theirs["known"], len(known)),
        ("unknown test flows", theirs["unknown"], len(unknown)),
    ]
    for what, ours, forest in pairs:
        if ours != forest:
            sys.exit(f"the model had {ours} {what}, the forest would have {forest}: not comparable")


# ---- figures -------------------------------------------------------------------------------------
def fpr95(unknown, known):
    """Share of known flows at or above the score that catches 95% of the unknown ones."""
    caught = np.sort(unknown)[::-1][math.ceil(0.95 * len(unknown)) - 1]
    return float(np.mean(known >= caught))


def rank_unknown(unknown, known):
    if not len(unknown) or not len(known):
        return None, None
    is_unknown = np.repeat([1, 0], [len(unknown), len(known)])
    return float(roc_auc_score(is_unknown, np.concatenate([unknown, known]))), fpr95(unknown, known)


def f1_by_class(confusion):
    support, judged = Counter(), Counter()
    for (true, as_what), n in confusion.items():
        support[true] += n
        judged[as_what] += n
    return {c: 2 * confusion[c, c] / (support[c] + judged[c]) for c in support}, support


def macro_f1(confusion):
    f1, _ = f1_by_class(confusion)
    return sum(f1.values()) / len(f1)


def accuracy(confusion):
    right = sum(n for (true, judged), n in confusion.items() if true == judged)
    return right / sum(confusion.values())


def our_result(report):
    model = report["models"][0]
    names = [row["class"] for row in model["classes"]]
    score = model["unknown"]["scores"][model["unknown"]["score"]]
    confusion = [
        (true, judged, n)
        for true, row in zip(names, model["confusion"])
        for judged, n in zip(names, row)
        if n
    ]
    return {"confusion": confusion, "auroc": score["auroc"], "fpr95": score["fpr95"]}


def forest_result(dump, classes, train, known, unknown):
    x, y = features(dump), dump["class"]
    forest = RandomForestClassifier(**FOREST, n_jobs=len(os.sched_getaffinity(0)))
    forest.fit(x[train], y[train])
    chance = forest.predict_proba(x[known])
    judged = forest.classes_[chance.argmax(axis=1)]
    strange = forest.predict_proba(x[unknown]).max(axis=1) if len(unknown) else np.array([])
    auroc, false_alarms = rank_unknown(1 - strange, 1 - chance.max(axis=1))
    counts = Counter(zip(y[known].tolist(), judged.tolist()))
    confusion = [(classes[true], classes[as_what], n) for (true, as_what), n in counts.items()]
    return {"forest": FOREST, "confusion": confusion, "auroc": auroc, "fpr95": false_alarms}


def confusion_of(results):
    confusion = Counter()
    for result in results:
        for true, judged, n in result["confusion"]:
            confusion[true, judged] += n
    return confusion


def mean_of(results, key):
    values = [result[key] for result in results if result[key] is not None]
    return sum(values) / len(values) if values else float("nan")


# ---- telling -------------------------------------------------------------------------------------
def tell(name, results):
    confusion = confusion_of(results)
    print(
        f"  {name:8} macro-F1 {macro_f1(confusion):.4f}  accuracy {accuracy(confusion):.4f}"
        f"  AUROC {mean_of(results, 'auroc'):.4f}  FPR95 {mean_of(results, 'fpr95'):.4f}"
    )


def tell_classes(ours, forest):
    ours, support = f1_by_class(ours)
    forest, _ = f1_by_class(forest)
    print(f"\n{'F1 by class':18}{'flows':>6}{'ours':>8}{'forest':>8}")
    for c in sorted(support):
        print(f"{c:18}{support[c]:6}{ours[c]:8.3f}{forest[c]:8.3f}")


def tell_figures(ours, forest):
    over_f1 = 100 * (macro_f1(ours) - macro_f1(forest))
    over_accuracy = 100 * (accuracy(ours) - accuracy(forest))
    print(f"\nfigure macro_f1 {macro_f1(ours):.4f}")
    print(f"figure forest_macro_f1 {macro_f1(forest):.4f}")
    print(f"figure macro_f1_over_forest {over_f1:.2f} points")
    print(f"figure accuracy_over_forest {over_accuracy:.2f} points")


def forest_path(work, fold):
    return f"{work}/fold-{fold}.forest.json"


def cached_forest(path):
    """None when there is none, or one of other parameters."""
    result = read_json(path) if os.path.exists(path) else {}
    return result if result.get("forest") == FOREST else None


def run_fold(options):
    base = f"{options.work}/fold-{options.fold}"
    header, _ = read_header(base + ".safetensors")
    model = json.loads(header["__metadata__"]["netmamba"])
    report = read_json(base + ".json")
    dump, classes = read_dump(options.dump)
    train, known, unknown = split(dump, classes, model)
    check_flows(report, model, train, known, unknown)
    path = forest_path(options.work, options.fold)
    forest = cached_forest(path)
    if not forest:
        forest = forest_result(dump, classes, train, known, unknown)
        write_json(path, forest)
    print(
        f"fold {options.fold}: {len(train)} flows of {len(model['classes'])} classes train, "
        f"{len(known)} test, {len(unknown)} are unknown"
    )
    tell("ours", [our_result(report)])
    tell("forest", [forest])


def run_sum(options):
    ours = [our_result(read_json(f"{options.work}/fold-{fold}.json")) for fold in options.folds]
    forest = [read_json(forest_path(options.work, fold)) for fold in options.folds]
    print(f"\nfolds {' '.join(options.folds)} together (AUROC, FPR95: their means)")
    tell("ours", ours)
    tell("forest", forest)
    tell_classes(confusion_of(ours), confusion_of(forest))
    tell_figures(confusion_of(ours), confusion_of(forest))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    fold = commands.add_parser("fold")
    fold.add_argument("fold")
    fold.add_argument("work")
    fold.add_argument("dump")
    fold.set_defaults(run=run_fold)
    together = commands.add_parser("sum")
    together.add_argument("work")
    together.add_argument("folds", nargs="+")
    together.set_defaults(run=run_sum)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
