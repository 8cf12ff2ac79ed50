import { parse } from 'yaml';
import type { z } from 'zod';
import { UsageError } from './exit-codes.ts';

/**
 * Command-line flags from a kind's schema: one per field, named as the field in kebab case. Values are written as in
 * YAML; lists take commas or repetition, and where a list holds objects a bare word means their first field
 * (`--subnets 10.0.0.0/24`).
 */
export interface FieldFlag {
  readonly field: string;
  readonly flag: string;
  readonly about: string;
  readonly isBoolean: boolean;
  readonly isList: boolean;
  /** Of a list of objects: the field that a bare word sets. */
  readonly firstField?: string;
}

interface Shape {
  readonly type: string;
  readonly optional: boolean;
  readonly default?: unknown;
  readonly description?: string;
  readonly inner: z.core.$ZodType;
}

export function flagsOf(schema: z.ZodObject): FieldFlag[] {
  return Object.entries(schema.shape).map(([field, type]) => flagOf(field, type as z.core.$ZodType));
}

/** Types that need no word where a description is there. */
const PLAIN: ReadonlySet<string> = new Set(['string', 'number', 'boolean']);

function flagOf(field: string, type: z.core.$ZodType): FieldFlag {
  const shape = unwrap(type);
  const element =
    shape.type === 'array'
      ? unwrap((shape.inner._zod.def as unknown as { element: z.core.$ZodType }).element)
      : undefined;
  const firstField = element?.type === 'object' ? firstRequired(element.inner) : undefined;
  const notes = [
    ...(shape.description === undefined ? [] : [shape.description]),
    ...(shape.description !== undefined && PLAIN.has(shape.type) ? [] : [describeType(shape, element, firstField)]),
    ...(shape.default === undefined || (Array.isArray(shape.default) && shape.default.length === 0)
      ? []
      : [`default ${String(JSON.stringify(shape.default)).replaceAll('"', '')}`]),
    ...(shape.optional || shape.default !== undefined ? [] : ['required']),
  ];
  return {
    field,
    flag: kebab(field),
    about: notes.join('; '),
    isBoolean: shape.type === 'boolean',
    isList: shape.type === 'array',
    ...(firstField === undefined ? {} : { firstField }),
  };
}

/** Looks through `optional`, `default` and transformations at the type beneath. */
function unwrap(type: z.core.$ZodType): Shape {
  let inner = type;
  let optional = false;
  let fallback: unknown;
  let description: string | undefined;
  for (;;) {
    const def = inner._zod.def as unknown as {
      type: string;
      innerType?: z.core.$ZodType;
      in?: z.core.$ZodType;
      defaultValue?: unknown;
    };
    description ??= (inner as { description?: string }).description;
    if (def.type === 'optional') optional = true;
    if (def.type === 'default') fallback = def.defaultValue;
    const next = def.innerType ?? (def.type === 'pipe' ? def.in : undefined);
    if (!next)
      return {
        type: def.type,
        optional,
        inner,
        ...(fallback === undefined ? {} : { default: fallback }),
        ...(description === undefined ? {} : { description }),
      };
    inner = next;
  }
}

function firstRequired(type: z.core.$ZodType): string | undefined {
  const { shape } = type._zod.def as unknown as { shape: Record<string, z.core.$ZodType> };
  return Object.entries(shape).find(([, field]) => {
    const inner = unwrap(field);
    return !inner.optional && inner.default === undefined;
  })?.[0];
}

function describeType(shape: Shape, element: Shape | undefined, firstField: string | undefined): string {
  if (firstField !== undefined) return `list: ${firstField}, or {${firstField}: …, …} as in YAML; may be repeated`;
  if (element) return 'list: with commas, or repeated';
  if (shape.type === 'enum')
    return Object.values((shape.inner._zod.def as unknown as { entries: Record<string, string> }).entries).join(' or ');
  if (shape.type === 'object' || shape.type === 'union') return 'as in YAML: {field: value, …}';
  return { string: 'text', number: 'number', boolean: 'yes or no' }[shape.type] ?? shape.type;
}

/** The field's value from what was typed. Error `invalid` where it does not read as YAML. */
export function fieldValue(flag: FieldFlag, typed: string | readonly string[] | boolean): unknown {
  if (typeof typed === 'boolean') return typed;
  if (typeof typed === 'string') return scalar(flag, typed);
  return typed.flatMap((text) => {
    if (/^\s*[[{]/.test(text)) return scalar(flag, text) as unknown[];
    const words = text.split(',').map((word) => word.trim());
    return flag.firstField === undefined ? words : words.map((word) => ({ [flag.firstField!]: word }));
  });
}

function scalar(flag: FieldFlag, text: string): unknown {
  // A MAC of digits only would read as a sexagesimal number in old YAML; names such as `1` stay text where text is wanted.
  try {
    return parse(text, { version: '1.2' }) as unknown;
  } catch (cause) {
    throw new UsageError(`--${flag.flag} ${text}: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
}

export function kebab(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A label as typed. Error: a usage error that names the option. */
export function labelOf(text: string, option: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`${option} ${text}: key=value is wanted`);
  return [text.slice(0, at), text.slice(at + 1)];
}
