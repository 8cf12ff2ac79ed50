import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../../base/errors.ts';
import { cidrSchema } from '../../model/kinds/common.ts';
import type { Router } from '../../model/objects.ts';
import { bgpOf, decidingHosts, learnedRoutes } from '../bgp.ts';
import type { ServerContext } from '../context.ts';
import { requireObject } from '../mutations.ts';
import { parseQuery } from './query.ts';

export const bgpQuerySchema = z.object({
  /** Only this router. */
  router: z.string().optional(),
  tenant: z.string().optional(),
});
export const bgpRoutesQuerySchema = z.object({
  router: z.string(),
  tenant: z.string().optional(),
  /** Only routes to exactly this network. */
  to: cidrSchema.optional(),
  limit: z.coerce.number().int().min(1).max(100_000).default(1000),
});

/** Peers, what routers say to them, and what they learned. */
export function addBgpRoutes(app: FastifyInstance, { state, present, runtime, streams }: ServerContext): void {
  const { index } = state;
  const named = (text: string, tenant: string | undefined): Router => {
    const router = requireObject(index, 'router', text, tenant);
    if (router.bgp === undefined) throw new WeftError('invalid', `router ${router.name} has no bgp`);
    return router;
  };
  app.get('/v1/bgp', async (request) => {
    const { router, tenant } = parseQuery(bgpQuerySchema, request.query);
    const owner = tenant === undefined ? undefined : requireObject(index, 'tenant', tenant).id;
    const all = [...index.all('router')].filter((each) => each.bgp && (owner === undefined || each.tenant === owner));
    const routers = router === undefined ? all : [named(router, tenant)];
    return { routers: routers.map((each) => bgpOf(index, present, each)) };
  });
  app.get('/v1/bgp/routes', async (request) => {
    const { router, tenant, to, limit } = parseQuery(bgpRoutesQuerySchema, request.query);
    const of = named(router, tenant);
    const behind = [...index.hosts()].flatMap(({ id }) => (streams.routersBehind(id).has(of.id) ? [id] : []));
    return { items: learnedRoutes(index, of, to, limit, decidingHosts(behind, runtime)) };
  });
}
