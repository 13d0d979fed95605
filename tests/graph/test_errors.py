"""Wrong configurations, one of each kind: what a person is told is one screen that names the place and a fix."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.graph import ConfigError, build, compose, plan

ROOT = Path(__file__).parents[2]
LINES, COLUMNS = 24, 110  # one screen

# name: (conf/model/broken.yaml of the user's, or None for the project's `vit`; the command line; what is told)
WRONG = {
    "yes": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, bias: yes}""",
        [],
        """\
model/broken.yaml:3:44  graph.head.bias
  YAML reads yes as true
  got       yes
  fits      true, or "yes" in quotes for the word""",
    ),
    "off": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, bias: off}""",
        [],
        """\
model/broken.yaml:3:44  graph.head.bias
  YAML reads off as false
  got       off
  fits      false, or "off" in quotes for the word""",
    ),
    "None": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params: {width: None}
graph:
  head: {block: Linear, features: width}""",
        [],
        """\
model/broken.yaml:2:17  params.width
  YAML reads None as a word of four letters
  got       None
  fits      null, or "None" in quotes for the word""",
    ),
    "octal": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 010}""",
        [],
        """\
model/broken.yaml:3:35  graph.head.features
  YAML reads 010 as an octal number
  got       010
  fits      10, or "010" in quotes""",
    ),
    "base sixty": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 12:30:45}""",
        [],
        """\
model/broken.yaml:3:35  graph.head.features
  YAML reads 12:30:45 as a number in base sixty
  got       12:30:45
  fits      "12:30:45" in quotes""",
    ),
    "no on the command line": (
        None,
        ["model.params.depth=no"],
        """\
the command line: model.params.depth=no
  a file would read no as false
  got       no
  fits      false, or "no" in quotes for the word""",
    ),
    "None on the command line": (
        None,
        ["model.params.depth=None"],
        """\
the command line: model.params.depth=None
  a file would read None as a word of four letters
  got       None
  fits      null, or "None" in quotes for the word""",
    ),
    "octal on the command line": (
        None,
        ["model.params.depth=010"],
        """\
the command line: model.params.depth=010
  a file would read 010 as an octal number
  got       010
  fits      10, or "010" in quotes""",
    ),
    "a key that is not there": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
grahp: {head: {block: Linear}}
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:2:1  model.grahp
  no section 'grahp' in a model
  got       grahp: {head: {block: Linear}}
  fits      did you mean graph?""",
    ),
    "unread missing": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params:
  width: ???
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:3:3  model.params.width
  width is missing (???), and no node reads it
  fix       leave it out, or let a node read it""",
    ),
    "read missing": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params:
  width: ???
graph:
  head: {block: Linear, features: 2 * width}""",
        [],
        """\
model/broken.yaml:5:3  graph.head
  Linear: model.params.width is missing (???)
  got       features: 2 * width
  from      model/broken.yaml:5:25
  fix       write it at model/broken.yaml:3:3, or model.params.width=... on the command line""",
    ),
    "missing argument ???": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head:
    block: Linear
    features: ???""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: features is missing (???)
  got       features: ???
  from      model/broken.yaml:5:5
  fits      a whole number
  fix       write features: ... here, or give it on the command line""",
    ),
    "question marks in braces": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: ???}""",
        [],
        """\
model/broken.yaml:3:35
  not YAML: expected the node content, but found '?'
  got       head: {block: Linear, features: ???}
  fix       inside braces and brackets put it in quotes: "???\"""",
    ),
    "duplicate key": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
  head: {block: Linear, features: 6}""",
        [],
        """\
model/broken.yaml:4:3
  not YAML: found duplicate key head
  got       head: {block: Linear, features: 6}
  fix       keep one of the two""",
    ),
    "tab": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
	head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:3:1
  not YAML: found character '\\t' that cannot start any token
  got       head: {block: Linear, features: 5}
  fix       indent with spaces, not with a tab""",
    ),
    "open brace": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5""",
        [],
        """\
model/broken.yaml:4:1
  not YAML: expected ',' or '}', but got '<stream end>'
  got       the end of the file
  fix       close what a bracket or a brace opened, or add the comma""",
    ),
    "two colons": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: block: Linear""",
        [],
        """\
model/broken.yaml:3:14
  not YAML: mapping values are not allowed here
  got       head: block: Linear
  fix       put a text with a colon in quotes, or start the key on a line of its own""",
    ),
    "uneven indentation": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
 head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:4:2
  not YAML: expected <block end>, but found '<block mapping start>'
  got       head: {block: Linear, features: 5}
  fix       indent all keys of a mapping alike""",
    ),
    "empty file": (
        """\
""",
        [],
        """\
model/broken.yaml:1:1  model
  a model needs 'inputs'
  fits      inputs: {image: data.image}

model/broken.yaml:1:1  model
  a model needs 'graph'
  fits      graph: {name: {block: Name}}""",
    ),
    "list file": (
        """\
- block: Linear""",
        [],
        """\
model/broken.yaml:1:1  model
  a model is a mapping
  got       a list
  fits      inputs: {...}, graph: {...}""",
    ),
    "interpolation": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: '${model.params.width}'}""",
        [],
        """\
model/broken.yaml:3:25  model.graph.head.features
  Interpolation key 'model.params.width' not found
  fix       ${...} names a key from the top: ${seed}; a model's own params need no ${...}""",
    ),
    "environment": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: '${oc.env:NO_SUCH_VARIABLE}'}""",
        [],
        """\
model/broken.yaml:3:25  model.graph.head.features
  Environment variable 'NO_SUCH_VARIABLE' not found
  fix       set it: export NAME=value, or give a default: ${oc.env:NAME,value}""",
    ),
    "unknown model": (
        None,
        ["model=vit_s14"],
        """\
the command line: model=vit_s14
  model has no option 'vit_s14'
  got       model=vit_s14
  fits      did you mean vit_s16 or vit_l16?""",
    ),
    "unknown option": (
        None,
        ["model/attention=fulll"],
        """\
the command line: model/attention=fulll
  model/attention has no option 'fulll'
  got       model/attention=fulll
  fits      did you mean full?""",
    ),
    "unknown option in a file": (
        """\
defaults: [attention: fulll, _self_]
inputs: {x: {tokens: 7, dim: 6}}""",
        [],
        """\
model/broken.yaml:1:23
  model/attention has no option 'fulll'
  got       model/attention=fulll
  fits      did you mean full?""",
    ),
    "unknown group": (
        None,
        ["model/atention=full"],
        """\
the command line: model/atention=full
  no group 'atention' in model
  fits      did you mean attention?""",
    ),
    "added unknown group": (
        None,
        ["+model/atention=full"],
        """\
the command line: +model/atention=full
  this changes nothing: nothing reads 'model/atention'
  fits      did you mean model/attention or model/position?""",
    ),
    "unknown key on the command line": (
        None,
        ["model.params.detph=3"],
        """\
the command line: model.params.detph=3
  no key 'detph' in model.params
  fits      did you mean depth?
  fix       to add a new key, write +model.params.detph=3""",
    ),
    "unreadable override": (
        None,
        ["model.params.depth=(3"],
        """\
the command line: model.params.depth=(3
  this override cannot be read
  fits      key=value, +key=value or ~key
  fix       quote it: 'key="a value with , = ( )"'""",
    ),
    "no equals sign": (
        None,
        ["model.params.depth"],
        """\
the command line: model.params.depth
  this override cannot be read
  fits      key=value, +key=value or ~key""",
    ),
    "sweep": (
        None,
        ["model.params.depth=2,4"],
        """\
the command line: model.params.depth=2,4
  several values at once are a sweep
  fix       sweep with -m (--multirun); one list is key=[2,4]""",
    ),
    "delete what is not there": (
        None,
        ["~model.graph.positions"],
        """\
the command line: ~model.graph.positions
  no key 'positions' in model.graph
  fits      did you mean position?""",
    ),
    "add what is there": (
        None,
        ["+model.params.depth=3"],
        """\
the command line: +model.params.depth=3
  model.params.depth is there already
  fix       without the +: model.params.depth=3""",
    ),
    "unread param": (
        None,
        ["+model.params.width=3"],
        """\
the command line: +model.params.width=3  model.params.width
  this changes nothing: no node reads 'width'
  fix       leave it out, or let a node read it""",
    ),
    "unread slot": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
defaults: [mlp: gelu, _self_]
graph:
  head: {block: Linear, features: 5}""",
        ["model.mlp.params.dropout=0.1"],
        """\
the command line: model.mlp.params.dropout=0.1  model.mlp.params.dropout
  this changes nothing: no node reads 'dropout'
  fix       leave it out, or let a node read it""",
    ),
    "unknown block": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Liner, features: 5}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  no block 'Liner'
  got       block: Liner
  from      model/broken.yaml:3:10
  fits      did you mean Linear?
  fix       python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]""",
    ),
    "import path": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: torch.nn.Linear, features: 5}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  no block 'torch.nn.Linear'
  got       block: torch.nn.Linear
  from      model/broken.yaml:3:10
  fits      did you mean Linear?
  fix       python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]""",
    ),
    "unknown slot": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {use: atention}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  no slot 'atention' is filled here
  got       use: atention
  fits      did you mean attention?""",
    ),
    "empty slot": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {use: attention}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  no slot 'attention' is filled here
  got       use: attention
  fix       add `attention: OPTION` to the model's defaults, or +model/attention=OPTION on the command line""",
    ),
    "unknown argument": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, baias: true}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear has no argument 'baias'
  got       baias: true
  from      model/broken.yaml:3:38
  fits      did you mean bias?""",
    ),
    "misspelt word": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, repaet: 3}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear has no argument 'repaet'
  got       repaet: 3
  from      model/broken.yaml:3:38
  fits      did you mean repeat or expect?""",
    ),
    "unknown port": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, in: {y: x}}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear has no input 'y'
  got       in: {y: ...}
  fits      x""",
    ),
    "ports of a list": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  sum: {block: Add, in: {a: x}}""",
        [],
        """\
model/broken.yaml:3:3  graph.sum
  Add takes a list of inputs
  got       in: {a: ...}
  fits      in: [a, b]""",
    ),
    "too many inputs": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, in: [x, x]}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear takes 1 input (x)
  got       2: x, x
  fits      in: NODE""",
    ),
    "no input": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, in: []}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear needs an input 'x' (*batch, dim)
  fix       in: {x: NODE}""",
    ),
    "in is a number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, in: 3}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  `in` names what flows in
  got       in: 3
  fits      in: node, in: [a, b], in: {port: node}, or in: []""",
    ),
    "unknown node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
  head: {block: Linear, features: 5, in: nrom}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  no node or input 'nrom' here, before this one
  got       in: nrom
  from      model/broken.yaml:4:38
  fits      did you mean norm?""",
    ),
    "a later node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, in: norm}
  norm: {block: LayerNorm}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  no node or input 'norm' here, before this one
  got       in: norm
  from      model/broken.yaml:3:38
  fits      x""",
    ),
    "outer node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
  sum:
    body:
      add: {block: Add, in: [x, norm]}""",
        [],
        """\
model/broken.yaml:6:7  graph.sum.add
  no node or input 'norm' here, before this one
  got       in: norm
  from      model/broken.yaml:6:33
  fits      x
  fix       a body sees only its own inputs and nodes; hand outer values in through `in:`""",
    ),
    "unknown output": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
  head: {block: Linear, features: 5, in: norm.weight}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  'norm' has no output 'weight'
  got       in: norm.weight
  from      model/broken.yaml:4:38
  fits      out""",
    ),
    "unknown node in outputs": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
outputs: {logits: haed}""",
        [],
        """\
model/broken.yaml:4:11  outputs
  no node or input 'haed' here
  got       outputs: haed
  fits      did you mean head?""",
    ),
    "unknown param": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params: {width: 3}
graph:
  head: {block: Linear, features: widht}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  Linear: no name 'widht' in scope here
  got       features: widht
  from      model/broken.yaml:4:25
  fits      did you mean width?""",
    ),
    "unknown counter": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers:
    repeat: 2
    as: stage
    body:
      norm: {block: Dropout, rate: 0.1 * layer.fraction}""",
        [],
        """\
model/broken.yaml:7:7  graph.layers.0.norm
  Dropout: no node or counter 'layer' in scope here
  got       rate: 0.1 * layer.fraction
  from      model/broken.yaml:7:30
  fits      data, depth, params, stage, x""",
    ),
    "counter as a number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: 2, block: Dropout, rate: layer / 10}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  Dropout: 'layer' is a counter
  got       rate: layer / 10
  from      model/broken.yaml:3:39
  fits      layer.index, layer.count, layer.fraction""",
    ),
    "unknown counter word": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: 2, block: Dropout, rate: layer.idx / 10}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  Dropout: layer has no 'idx'
  got       rate: layer.idx / 10
  from      model/broken.yaml:3:39
  fits      layer has index, count, fraction""",
    ),
    "unknown fact": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: data.clases}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: the data does not say 'clases'
  got       features: data.clases
  from      model/broken.yaml:3:25
  fits      data has image, classes
  fix       choose other data (data=...), or state it: +data.facts.clases=...""",
    ),
    "missing fact": (
        """\
inputs: {tokens: data.tokens}
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:1:10  inputs.tokens
  the data does not say 'tokens'
  got       tokens: data.tokens
  fits      data has image, classes
  fix       choose other data (data=...), or state it: +data.facts.tokens=...""",
    ),
    "node attribute": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
  head: {block: Linear, features: norm.widht}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  Linear: norm has no 'widht'
  got       features: norm.widht
  from      model/broken.yaml:4:25
  fits      norm has normalized_shape, tokens, dim, shape""",
    ),
    "node as a number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  norm: {block: LayerNorm}
  head: {block: Linear, features: norm}""",
        [],
        """\
model/broken.yaml:4:3  graph.head
  Linear: 'norm' is a node; an expression needs a number
  got       features: norm
  from      model/broken.yaml:4:25
  fits      norm.shape[-1], say""",
    ),
    "text for a number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: wide}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: no name 'wide' in scope here
  got       features: wide
  from      model/broken.yaml:3:25
  fits      data, dim, tokens""",
    ),
    "fraction for a whole number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: dim / 2}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: features takes a whole number
  got       features: dim / 2
  from      model/broken.yaml:3:25
  fits      3; in an expression // divides whole""",
    ),
    "true for a whole number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: true}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: features takes a whole number
  got       features: true
  from      model/broken.yaml:3:25
  fits      features: 4, or an expression: 2 * dim""",
    ),
    "list for a whole number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: [3, 4]}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: features takes a whole number
  got       features: [3, 4]
  from      model/broken.yaml:3:25
  fits      features: 4, or an expression: 2 * dim""",
    ),
    "number for true or false": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, bias: 1}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: bias takes true or false
  got       bias: 1
  from      model/broken.yaml:3:38
  fits      bias: true, or a comparison: layer.index > 0""",
    ),
    "number for a text": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: GELU, approximate: 3}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  GELU: approximate takes a text
  got       approximate: 3
  from      model/broken.yaml:3:22
  fits      approximate: a word""",
    ),
    "unknown text": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: GELU, approximate: tan}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  GELU fails: approximate argument must be either none or tanh.
  got       x (batch, 7, 6); approximate='tan'
  from      approximate  model/broken.yaml:3:22  (tan)
  fits      approximate: a text""",
    ),
    "missing argument": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear needs features
  fits      features: a whole number""",
    ),
    "negative width": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: -5}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear fails: Trying to create tensor with negative dimension -5: [-5, 6]
  got       x (batch, 7, 6); features=-5, in_features=6
  from      features  model/broken.yaml:3:25
  fits      in_features: a whole number, features: a whole number, bias: true or false""",
    ),
    "zero width": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 0}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: an axis of what comes out is empty
  got       (batch, 7, 0)
  from      features  model/broken.yaml:3:25
  fits      axes of size 1 or more""",
    ),
    "out of range": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  drop: {block: DropPath, rate: 1.5}""",
        [],
        """\
model/broken.yaml:3:3  graph.drop
  DropPath: rate must be in [0, 1)
  got       rate=1.5
  from      rate  model/broken.yaml:3:27
  fits      rate=0.1, say""",
    ),
    "width not inferable": (
        """\
inputs: {x: {shape: [7], dtype: int}}
graph:
  embed: {block: Embedding, dim: 3}""",
        [],
        """\
model/broken.yaml:3:3  graph.embed
  Embedding: vocab cannot be inferred
  got       inputs (batch, 7)
  fix       write vocab: ...""",
    ),
    "width differs": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params: {dim: 5}
graph:
  norm: {block: RMSNorm, dim: dim}""",
        [],
        """\
model/broken.yaml:4:3  graph.norm
  RMSNorm: dim is 6 in what flows in, and 5 is written
  got       dim=5
  from      model/broken.yaml:4:26
            the input comes from input x (batch, 7, 6)
  fits      dim=6
  fix       leave dim out: it is inferred""",
    ),
    "wrong rank": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  conv: {block: Conv2d, features: 5, kernel: 3}""",
        [],
        """\
model/broken.yaml:3:3  graph.conv
  Conv2d: x has 4 axes (batch, channels, height, width)
  got       (batch, 7, 6) from input x
  fix       7 tokens are no grid: take the class token away (~model.graph.token), or keep the grid (layout: grid)""",
    ),
    "too few axes": (
        """\
inputs: {image: data.image}
graph:
  attention: {block: ClassToken}""",
        [],
        """\
model/broken.yaml:3:3  graph.attention
  ClassToken: x has 3 axes (batch, tokens, dim)
  got       (batch, 1, 8, 8) from input image
  fix       put between: {block: Rearrange, pattern: b d h w -> b (h w) d}""",
    ),
    "wrong dtype": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  embed: {block: Embedding, vocab: 9, dim: 5}""",
        [],
        """\
model/broken.yaml:3:3  graph.embed
  Embedding: x takes whole numbers
  got       float32 from input x
  fix       an input of whole numbers says so: {shape: [...], dtype: int}""",
    ),
    "unknown dtype": (
        """\
inputs: {x: {shape: [7, 6], dtype: integer}}
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:1:10  inputs.x
  no dtype 'integer'
  got       dtype: integer
  fits      did you mean int?""",
    ),
    "unknown shape": (
        """\
inputs: {x: [7, -1]}
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:1:10  inputs.x
  the shape of x is not known
  got       [7, -1]
  fits      {channels: 3, height: 224, width: 224}, or [3, 224, 224]; dtype: int for whole numbers""",
    ),
    "heads": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
params: {heads: 4}
graph:
  block: {use: attention, heads: heads}""",
        ["model.params.heads=5"],
        """\
model/broken.yaml:5:3  graph.block
  SelfAttention: heads must divide dim
  got       heads=5, dim=6
  from      heads  model/broken.yaml:5:27  (heads)
              heads=5  the command line: model.params.heads=5
            dim  inferred from input x (batch, 7, 6)
  fits      heads in 1, 2, 3, 6""",
    ),
    "sum of unequals": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
  sum: {block: Add, in: [x, head]}""",
        [],
        """\
model/broken.yaml:4:3  graph.sum
  Add: shapes to add must agree
  got       input 1 (batch, 7, 6), input 2 (batch, 7, 5)
  fits      as many axes, on each the same size or 1""",
    ),
    "repeat zero": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: 0, block: ReLU}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  repeat is at least 1
  got       repeat: 0
  from      model/broken.yaml:3:12
  fix       to leave a node out, write when: false""",
    ),
    "repeat negative": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params: {depth: 2}
graph:
  layers: {repeat: depth - 3, block: ReLU}""",
        [],
        """\
model/broken.yaml:4:3  graph.layers
  repeat is at least 1
  got       repeat: depth - 3 = -1
  from      model/broken.yaml:4:12
            depth=2  model/broken.yaml:2:10
  fix       to leave a node out, write when: false""",
    ),
    "repeat text": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
params: {depth: 2}
graph:
  layers: {repeat: depth, block: ReLU}""",
        ["model.params.depth=three"],
        """\
model/broken.yaml:4:3  graph.layers
  repeat takes a whole number
  got       repeat: depth
  from      model/broken.yaml:4:12
            depth='three'  the command line: model.params.depth=three
  fits      repeat: 4, or an expression: 2 * dim""",
    ),
    "repeat unequal": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: {width: [3, 4, 5], bias: [true, false]}, block: Linear, features: width, bias: bias}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  the lists of repeat differ in length
  got       width has 3, bias has 2
  from      width  model/broken.yaml:3:21
            bias  model/broken.yaml:3:39
  fix       give each list the same length""",
    ),
    "repeat one list": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: {width: 3}, block: Linear, features: width}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  repeat is a number, or lists of equal length
  got       repeat: {width: 3}
  from      model/broken.yaml:3:12
  fits      repeat: 4, or repeat: {depth: [2, 2], heads: [3, 6]}""",
    ),
    "repeat empty": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  layers: {repeat: {width: []}, block: Linear, features: width}""",
        [],
        """\
model/broken.yaml:3:3  graph.layers
  a list of repeat is empty
  got       repeat: {width: []}
  from      model/broken.yaml:3:12
  fix       to leave a node out, write when: false""",
    ),
    "when a number": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: ReLU, when: dim}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  `when` is true or false
  got       when: dim, which is 6
  fits      a comparison: layer.index > 0""",
    ),
    "when a word": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: ReLU, when: maybe}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  when: no name 'maybe' in scope here
  got       when: maybe
  fits      data, dim, tokens""",
    ),
    "reserved name": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  train: {block: ReLU}""",
        [],
        """\
model/broken.yaml:3:3  graph.train
  'train' cannot name a node: a PyTorch module uses it
  fix       rename it, train_node say""",
    ),
    "keyword": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  class: {block: ReLU}""",
        [],
        """\
model/broken.yaml:3:3  graph.class
  'class' cannot name a node
  fits      a Python name: letters, digits, _; no keyword
  fix       rename the node""",
    ),
    "name of an input": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  x: {block: ReLU}""",
        [],
        """\
model/broken.yaml:3:3  graph.x
  'x' is an input here and cannot name a node too
  fix       rename the node""",
    ),
    "empty node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  a node cannot be empty
  fits      {block: Name}, {use: slot}, {body: {...}} or {share: node}
  fix       to delete a node, write ~model.graph.NAME on the command line""",
    ),
    "text node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: ReLU""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  a node is a mapping
  got       ReLU
  fits      {block: ReLU} or {use: ReLU}""",
    ),
    "two kinds": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: ReLU, use: mlp}""",
        [],
        """\
model/broken.yaml:4:3  graph.act
  a node is exactly one of block, use, body, share
  got       block and use
  fits      {block: Name}, {use: slot}, {body: {...}} or {share: node}""",
    ),
    "no kind": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {blok: ReLU}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  a node is exactly one of block, use, body, share
  got       blok
  fits      did you mean block?""",
    ),
    "as without repeat": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: ReLU, as: stage}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  'as' goes with repeat or scan
  got       as: stage
  fix       write repeat: ... beside it, or leave it out""",
    ),
    "empty body": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {body: {}}""",
        [],
        """\
model/broken.yaml:3:9  graph.act
  a body is a mapping of named nodes
  got       {}
  fits      name: {block: Name}""",
    ),
    "after unknown": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: ReLU, after: haed}
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:3:22  graph.act
  'after' names no node 'haed'
  got       after: haed
  fits      did you mean head?""",
    ),
    "after in a ring": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  a: {block: ReLU, after: b}
  b: {block: ReLU, after: a}
  c: {block: ReLU}""",
        [],
        """\
model/broken.yaml:3:20  graph.a
  'a' and 'b' wait for each other
  got       after: b
  fix       leave `after` out at one of them

model/broken.yaml:4:20  graph.b
  'b' and 'a' wait for each other
  got       after: a
  fix       leave `after` out at one of them""",
    ),
    "dead node": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: Linear, features: 4}
  head: {block: Linear, features: 5, in: x}""",
        [],
        """\
model/broken.yaml:3:3  graph.act
  this node feeds nothing
  fix       name it in the `in:` of another node or in `outputs`, or delete it""",
    ),
    "unread input": (
        """\
inputs: {x: [7, 6], mask: [7]}
graph:
  head: {block: Linear, features: 5}""",
        [],
        """\
model/broken.yaml:1:21  inputs.mask
  nothing reads the input 'mask'
  fix       name it in some node's `in:`, or leave it out""",
    ),
    "hole unfilled": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: residual}""",
        [],
        """\
model/broken.yaml:4:3  graph.block
  residual: prenorm has a hole 'inner' to fill
  fits      inner: {use: SLOT} or {block: NAME}""",
    ),
    "hole unknown": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: residual, iner: {use: mlp}, inner: {use: mlp}}""",
        [],
        """\
model/broken.yaml:4:3  graph.block
  residual: prenorm has no argument 'iner'
  got       iner: {use: mlp}
  from      model/broken.yaml:4:26
  fits      did you mean inner?""",
    ),
    "hole a word": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: residual, inner: mlp}""",
        [],
        """\
model/broken.yaml:4:3  graph.block
  a node is a mapping
  got       mlp
  from      model/broken.yaml:4:26
  fits      {block: mlp} or {use: mlp}""",
    ),
    "template argument": (
        """\
defaults: [attention: full, residual: prenorm, norm: layernorm, mlp: gelu, _self_]
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: mlp, hiden: 12}""",
        [],
        """\
model/broken.yaml:4:3  graph.block
  mlp: gelu has no argument 'hiden'
  got       hiden: 12
  from      model/broken.yaml:4:21
  fits      did you mean hidden?""",
    ),
    "ring of slots": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: norm}
norm: {use: mlp}
mlp: {use: norm}""",
        [],
        """\
model/broken.yaml:3:3  graph.block
  the slot 'norm' uses itself
  got       norm -> mlp -> norm
  fix       let one of them be a block or a body""",
    ),
    "slot in itself": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: norm}
norm: {body: {inner: {use: norm}}}""",
        [],
        """\
model/broken.yaml:4:15  graph.block.inner.inner.inner. ... .inner.inner.inner.inner.inner
  nodes are nested more than 32 deep
  got       a body, in itself
  fix       a slot must not stand in its own body""",
    ),
    "place in an option": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  block: {use: norm}
norm: {block: LayerNorm, repeat: 2}""",
        [],
        """\
model/broken.yaml:3:3  graph.block
  'repeat' belongs to the node that uses this, not here
  from      model/broken.yaml:4:1
  fix       move it beside `use:`""",
    ),
    "share unknown": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 6}
  again: {share: haed}""",
        [],
        """\
model/broken.yaml:4:3  graph.again
  no node 'haed' to share, before this one
  got       share: haed
  fits      did you mean head?""",
    ),
    "share with an argument": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 6}
  again: {share: head, features: 5}""",
        [],
        """\
model/broken.yaml:4:3  graph.again
  a shared node takes no argument 'features'
  fix       give it where 'head' is defined""",
    ),
    "share of another width": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
  again: {share: head}""",
        [],
        """\
model/broken.yaml:4:3  graph.again
  the shared module does not take this
  got       (batch, 7, 5)
  from      a and b must have same reduction dim, but got [55433, 5] X [6, 5].
  fits      what it takes where it stands first""",
    ),
    "tie unknown": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 6}
tie: {head.weight: embed.weight}""",
        [],
        """\
model/broken.yaml:4:7  tie
  no parameter 'embed.weight' to tie
  got       head.weight: embed.weight
  fits      did you mean head.weight?""",
    ),
    "tie of another shape": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  a: {block: Linear, features: 6}
  b: {block: Linear, features: 5}
tie: {b.weight: a.weight}""",
        [],
        """\
model/broken.yaml:5:7  tie
  tied parameters differ in shape
  got       b.weight (5, 6), a.weight (6, 6)
  fits      two parameters of one shape""",
    ),
    "expect parameters": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
expect: {parameters: 36}""",
        [],
        """\
model/broken.yaml:4:10  expect
  the model has not the parameters it claims
  got       35
  fits      36
  fix       correct the graph, or the claim""",
    ),
    "expect shape": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5, expect: {shape: [batch, 7, 6]}}""",
        [],
        """\
model/broken.yaml:3:38  graph.head
  the shape is not the one expected
  got       (batch, 7, 5)
  fits      (batch, 7, 6)""",
    ),
    "expect what": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 5}
expect: {params: 35}""",
        [],
        """\
model/broken.yaml:4:10  expect
  a model cannot expect 'params'
  fits      did you mean parameters?""",
    ),
    "too large": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 9**9**9}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: 9 ** 387420489 is too large
  got       features: 9**9**9
  from      model/broken.yaml:3:25
  fits      values up to 9e+18""",
    ),
    "a call": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: '__import__("os").getpid()'}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: an expression cannot call __import__('os').getpid
  got       features: __import__("os").getpid()
  from      model/broken.yaml:3:25
  fits      min, max, round, len""",
    ),
    "half an expression": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: 2 *}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: '2 *' is not an expression
  got       features: 2 *
  from      model/broken.yaml:3:25
  fits      numbers, names, + - * / // % **, comparisons, a if b else c, min max round""",
    ),
    "division by zero": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  head: {block: Linear, features: dim // 0}""",
        [],
        """\
model/broken.yaml:3:3  graph.head
  Linear: 'dim // 0' has no value: integer division or modulo by zero
  got       features: dim // 0
  from      model/broken.yaml:3:25
  fits      numbers that the operation takes""",
    ),
    "no library": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  act: {block: Twice}""",
        ["library=[nowhere]"],
        """\
the command line: library=[nowhere]  library
  no folder or package 'nowhere' with blocks
  fits      a folder with .py files, or a package""",
    ),
    "library in a file": (
        """\
# @package _global_
library: [mine]
model:
  inputs: {x: [6]}
  graph: {head: {block: Linear, features: 5}}""",
        [],
        """\
model/broken.yaml:2:1  library
  blocks of your own are named on the command line, not in a file: their code runs
  fix       library=[FOLDER] on the command line""",
    ),
    "many": (
        """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  a: {block: Liner, features: 5}
  b: {block: Linear, features: wide, in: x}
  c: {block: RMSNorm, dim: 5, in: x}
  d: {use: mlp, in: x}
outputs: {logits: e}""",
        [],
        """\
model/broken.yaml:3:3  graph.a
  no block 'Liner'
  got       block: Liner
  from      model/broken.yaml:3:7
  fits      did you mean Linear?
  fix       python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]

model/broken.yaml:4:3  graph.b
  Linear: no name 'wide' in scope here
  got       features: wide
  from      model/broken.yaml:4:22
  fits      data, dim, tokens

model/broken.yaml:5:3  graph.c
  RMSNorm: dim is 6 in what flows in, and 5 is written
  got       dim=5
  from      model/broken.yaml:5:23
            the input comes from input x (batch, 7, 6)
  fits      dim=6
  fix       leave dim out: it is inferred

and
  model/broken.yaml:6:3  no slot 'mlp' is filled here
  model/broken.yaml:7:11  no node or input 'e' here""",
    ),
}


def told(folder: Path, model: str | None, overrides: list[str]) -> str:
    """What a wrong configuration is answered with."""
    (folder / "model").mkdir()
    if model is not None:
        (folder / "model" / "broken.yaml").write_text(f"{model}\n")
    with pytest.raises(ConfigError) as caught:
        plan(compose([f"model={'vit' if model is None else 'broken'}", *overrides], config_dir=str(folder)))
    return str(caught.value)


def is_one_screen(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) <= LINES and max(map(len, lines)) <= COLUMNS and "Traceback" not in text and 'File "' not in text


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_place_and_a_fix(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    model, overrides, text = WRONG[name]
    found = told(tmp_path, model, overrides)
    assert found == text
    assert is_one_screen(found)
    for problem in found.split("\n\n"):
        assert problem.startswith(("model/broken.yaml:", "the command line:", "and\n"))
        assert "\n  fits " in problem or "\n  fix " in problem or problem.startswith("and\n")


OWN = {
    "a folder that is not there": (
        None,
        None,
        """\
the command line: library=[mine]  library
  no folder or package 'mine' with blocks
  fits      a folder with .py files, or a package""",
    ),
    "a folder without blocks": (
        "notes.txt",
        "nothing",
        """\
the command line: library=[mine]  library
  no .py file in 'mine'
  fits      a folder with files that define nn.Module classes""",
    ),
    "a syntax error": (
        "own.py",
        "class = 3",
        """\
the command line: library=[mine]  library
  mine/own.py cannot be imported
  got       SyntaxError: invalid syntax (own.py, line 1) (line 1)
  fix       mend that file, or leave it out""",
    ),
    "a package that is not installed": (
        "own.py",
        "import no_such_package",
        """\
the command line: library=[mine]  library
  mine/own.py cannot be imported
  got       ModuleNotFoundError: No module named 'no_such_package' (line 1)
  fix       mend that file, or leave it out""",
    ),
    "forward that raises": (
        "own.py",
        """\
from torch import nn


class Own(nn.Module):
    def forward(self, x):
        raise ValueError(f"{x.shape[1]} tokens are too many")""",
        """\
model/broken.yaml:3:3  graph.act
  Own fails: 7 tokens are too many
  got       x (batch, 7, 6)
  fix       look at mine/own.py:6:1; DOUGONG_DEBUG=1 shows the traceback""",
    ),
    "forward that returns nothing": (
        "own.py",
        """\
from torch import nn


class Own(nn.Module):
    def forward(self, x):
        x + 1""",
        """\
model/broken.yaml:3:3  graph.act
  Own: forward must return a tensor or a tuple of tensors
  got       NoneType
  fix       end forward with return ...""",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_a_mistake_in_a_block_of_ones_own_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, code, text = OWN[name]
    if file is not None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / file).write_text(f"{code}\n")
    model = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n  act: {block: Own}"
    assert told(tmp_path, model, ["library=[mine]"]) == text


def test_a_block_of_ones_own_is_not_named_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.py").write_text("raise SystemExit('the code of a stranger runs')\n")
    model = "# @package _global_\nlibrary: [mine]\nmodel:\n  inputs: {x: [6]}\n  graph: {act: {block: ReLU}}"
    assert (
        told(tmp_path, model, [])
        == """\
model/broken.yaml:2:1  library
  blocks of your own are named on the command line, not in a file: their code runs
  fix       library=[FOLDER] on the command line"""
    )


def test_a_folder_of_yaml_that_is_not_there_is_told():
    with pytest.raises(ConfigError) as caught:
        compose([], config_dir="nowhere")
    assert (
        str(caught.value)
        == """\
the command line: --config-dir
  no folder 'nowhere'
  fits      a folder with model/, data/, ..."""
    )


def test_every_mistake_on_the_command_line_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        compose(["model=vitt", "model.params.depth=2,4", "seeed=1", "~model.graph.positions"])
    assert len(caught.value.problems) == 4


def test_mistakes_that_fill_more_than_a_screen_are_told_in_a_line_each():
    wrong = {f"n{i}": {"block": "Liner", "in": "x"} for i in range(40)}
    with pytest.raises(ConfigError) as caught:
        build({"inputs": {"x": [6]}, "graph": {**wrong, "sum": {"block": "Add", "in": list(wrong)}}})
    text = str(caught.value)
    assert is_one_screen(text)
    assert text.endswith("more")
    assert "graph.n0" in text


def test_one_mistake_is_not_told_twice():
    """What hangs on a broken node is silent: only the cause is told."""
    graph = {"a": {"block": "Liner"}, "b": {"block": "LayerNorm"}, "c": {"block": "Add", "in": ["a", "b"]}}
    with pytest.raises(ConfigError) as caught:
        build({"inputs": {"x": [6]}, "graph": graph, "outputs": {"logits": "c"}})
    assert [problem.problem for problem in caught.value.problems] == ["no block 'Liner'"]


def explain(folder: Path, *arguments: str, debug: str = "0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blocks", "explain", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DOUGONG_DEBUG": debug}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_command_line_ends_with_status_2_and_nothing_on_stdout(tmp_path):
    model, _, text = WRONG["unknown block"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text(model)
    done = explain(tmp_path, "model=broken", "--config-dir", ".")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{text}\n")


def test_the_command_line_shows_the_traceback_only_when_asked(tmp_path):
    done = explain(tmp_path, "model.params.detph=3", debug="1")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" in done.stderr
    assert "no key 'detph' in model.params" in done.stderr
