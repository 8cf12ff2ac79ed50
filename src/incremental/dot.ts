/** The dependency graph as text for Graphviz. The same graph gives the same text. */

import { type CellFamily, CellNode } from './cells.ts';
import { type Index, once } from './definitions.ts';
import { forEachReader, type Observer, type Source } from './graph.ts';
import { FieldNode, GroupNode, RecordNode } from './indexes.ts';
import { type UnitFamily, UnitNode } from './units.ts';
import { compareText } from './values.ts';

const SHAPES = {
  record: 'box',
  index: 'hexagon',
  cell: 'ellipse',
  unit: 'component',
  sink: 'cylinder',
} as const;
type Shape = keyof typeof SHAPES;

class Drawing {
  readonly #nodes = new Map<string, string>();
  readonly #edges = new Map<string, Set<string>>();

  /** Returns what to call the node in `edge`. Families of different sorts may share a name. */
  node(shape: Shape, label: string): string {
    const id = quote(`${shape} ${label}`);
    if (!this.#nodes.has(id)) this.#nodes.set(id, `  ${id} [shape=${SHAPES[shape]}, label=${quote(label)}];`);
    return id;
  }

  edge(from: string, to: string, note = '', style: 'solid' | 'dashed' = 'solid'): void {
    const key = `  ${from} -> ${to} [style=${style}`;
    const notes = this.#edges.get(key) ?? new Set<string>();
    this.#edges.set(key, note === '' ? notes : notes.add(note));
  }

  toString(): string {
    const edges = [...this.#edges].map(([edge, notes]) => {
      const label = [...notes].sort(compareText).join('\n');
      return `${edge}${label === '' ? '' : `, label=${quote(label)}`}];`;
    });
    const lines = [...this.#nodes.values()].sort(compareText).concat(edges.sort(compareText));
    return `digraph incremental {\n  rankdir=LR;\n${lines.join('\n')}\n}\n`;
  }
}

function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

/** One node per kind, index, family and sink; what reads what is taken from the instances that there are. Dashed: where instances come from. */
export function dotOfFamilies(units: Iterable<UnitFamily>, cells: Iterable<CellFamily>): string {
  const drawing = new Drawing();
  const drawSource = (source: Source): [id: string, note: string] => {
    if (source instanceof FieldNode) return [drawing.node('record', source.record.kind), `.${source.name}`];
    if (source instanceof RecordNode) return [drawing.node('record', source.kind), ''];
    if (source instanceof GroupNode) return [drawIndex(source.table.index), ''];
    return [drawing.node('cell', (source as CellNode).family.cell.name), ''];
  };
  const drawIndex = (index: Index): string => {
    const id = drawing.node('index', index.name);
    for (const kind of Object.keys(index.sources)) drawing.edge(drawing.node('record', kind), id);
    return id;
  };
  const drawReads = (observers: Iterable<Observer>, to: string): void => {
    for (const observer of observers) {
      for (const source of observer.sources) {
        const [from, note] = drawSource(source);
        drawing.edge(from, to, note);
      }
    }
  };
  for (const { cell, cells: instances } of cells) {
    if (instances.size > 0) drawReads(instances.values(), drawing.node('cell', cell.name));
  }
  for (const { unit, units: instances } of units) {
    const id = drawing.node('unit', unit.name);
    if (typeof unit.over === 'string') drawing.edge(drawing.node('record', unit.over), id, '', 'dashed');
    else if (unit.over.form !== once.form) drawing.edge(drawIndex(unit.over), id, '', 'dashed');
    drawReads(instances.values(), id);
    for (const instance of instances.values()) {
      for (const { slot } of instance.entries) drawing.edge(id, drawing.node('sink', slot.table.sink.name));
    }
  }
  return drawing.toString();
}

/** What leads to the units given, and what follows from the sources given, with the slots at the end. */
export function dotOfInstances(units: Iterable<UnitNode>, sources: Iterable<Source>): string {
  const drawing = new Drawing();
  const draw = (source: Source): string => {
    if (source instanceof FieldNode) {
      const id = drawing.node('record', source.label);
      drawing.edge(drawing.node('record', source.record.label), id);
      return id;
    }
    if (source instanceof UnitNode) {
      const id = drawing.node('unit', source.label);
      for (const { slot } of source.entries)
        drawing.edge(id, drawing.node('sink', `${slot.table.sink.name}/${slot.name}`));
      return id;
    }
    const shape = source instanceof RecordNode ? 'record' : source instanceof GroupNode ? 'index' : 'cell';
    return drawing.node(shape, source.label);
  };
  const upstream = new Set<Source>(units);
  for (const node of upstream) {
    const id = draw(node);
    if (!(node instanceof UnitNode || node instanceof CellNode)) continue;
    for (const source of node.sources) {
      drawing.edge(draw(source), id);
      upstream.add(source);
    }
  }
  const downstream = new Set<Source>(sources);
  for (const node of downstream) {
    const id = draw(node);
    if (node instanceof RecordNode) for (const field of node.fields ?? []) downstream.add(field);
    forEachReader(node, (reader) => {
      drawing.edge(id, draw(reader));
      downstream.add(reader);
    });
  }
  return drawing.toString();
}
