"""The recipe of models/tiny-base: a chat model of two million parameters, pre-trained on two CPU cores in 18 to 40 minutes.

    cd gpu-runtime
    python -m recipes.tiny_base --out /tmp/base-a --total-tokens 2500000 --words american-english
    python -m recipes.tiny_base --out /tmp/base-b --total-tokens 3100000 --words american-english --init /tmp/base-a --seed 10 --lr 1.5e-3 --muon-lr 0.015

It learns *how to answer about words it has never seen*: to copy sub-words into an answer, to match a question to a statement
whatever the phrasing, to say that it does not know. It learns no facts: LoRA adapters put those in. Hence every content word
of its dialogs is drawn at random, and only function words are fixed.

    words.py        where random words, names and values come from
    families.py     question families: the phrasings that ask for one kind of fact, and the answers' form
    curriculum.py   dialogs made of random facts, and the mixture over time
    tokenizer.py    byte-level BPE with ChatML marks
    muon.py         the optimiser of the matrices
    pretrain.py     model and loop
"""
