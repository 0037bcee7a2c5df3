"""Metrics in a training loop of one's own, and the run that it makes."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import pretrain_eval as pe

torch.manual_seed(0)
pixels, labels = map(torch.as_tensor, load_digits(return_X_y=True))
everything = TensorDataset(pixels.float() / 16, labels)
train, valid = random_split(everything, (0.8, 0.2))
loader, valid_loader = DataLoader(train, 64, shuffle=True), DataLoader(valid, 256)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio(), pe.Accuracy())
with metrics.attach(optimizer):
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            criterion(outputs, targets).backward()
            optimizer.step()  # GradNorm and UpdateRatio watch this
            metrics.update(outputs, targets)  # Accuracy counts this
        print(f"epoch {epoch + 1}:", metrics.compute())
        metrics.reset()

scores = pe.validate(model, valid_loader, [pe.Accuracy(), pe.F1Score()])
print("validation:", scores)

run = pe.Run(
    model="small network",
    task="digits",
    dataset="scikit-learn",
    strategy="momentum",
    seed=0,
    scores=scores,
    history=metrics.history,
)
print(pe.PersistenceEvaluator().score([run]))
