import type { Adapter } from '../adapter.ts';
import type { HttpClient } from '../http.ts';
import { MODAL_RATE_LIMITS } from '../policy/provider-limits.ts';
import { comfyApi } from './comfy-api.ts';

/** Milliseconds that our gateway keeps a job (RETENTION in apps/modal/src/ryla_modal/stores.py). */
const MODAL_RETENTION_MS = 7 * 24 * 60 * 60 * 1000;

/** How callers of a Modal deployment prove who they are. */
export type ModalAuth =
  /** A proxy token: Modal itself refuses others before any container wakes. */
  | { readonly type: 'modal-proxy'; readonly key: string; readonly secret: string }
  /** A token that our gateway checks, in a CPU container. */
  | { readonly type: 'bearer'; readonly token: string };

/** Options of {@link modal}. */
export interface ModalOptions {
  /** URL of the deployment's gateway, such as https://acme--ryla-photo-finish-api.modal.run. */
  readonly baseUrl: string;
  readonly auth: ModalAuth;
  /** Whether files may be fetched from addresses that are not public, also over http. Default false. */
  readonly allowPrivateNetworks?: boolean;
  readonly http?: HttpClient;
}

/** The headers that carry an authentication. */
export function modalHeaders(auth: ModalAuth): Readonly<Record<string, string>> {
  return auth.type === 'bearer'
    ? { authorization: `Bearer ${auth.token}` }
    : { 'modal-key': auth.key, 'modal-secret': auth.secret };
}

/** Our gateway on Modal: Comfy API v2, with look-up by the job id that the service mints. */
export function modal({ baseUrl, auth, ...options }: ModalOptions): Adapter {
  return {
    ...comfyApi({ ...options, baseUrl, headers: modalHeaders(auth), lookup: true }),
    limits: MODAL_RATE_LIMITS,
    retentionMs: MODAL_RETENTION_MS,
    provider: 'modal',
  };
}
