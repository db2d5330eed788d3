/* profile.c: times each launch, as a whole and thread by thread, and tells the caller.
**
** Owned by the session and taken from its blocks when it is opened; a session without a profile has none of this, and
** its runs look once at a NULL for each launch.  The driver notes when each of its threads began and ended, in a row
** of its own of `parts`; the thread that called hr_run reads them when all have ended, and alone calls the caller. */
#include "profile.h"
#include "session.h"

struct hr_profile {
    hr_profile_fn tell;
    void *context;
    const char **nodes;     /* of each step */
    hr_profile_part *parts; /* one for each thread */
};

/* The nodes of all steps as texts, one behind the other in one block. */
static bool write_nodes(hr_session *session, const char **nodes) {
    const hr_variant *variant = &session->model->variant;
    size_t bytes = 0;
    for (uint32_t s = 0; s < variant->program.step_count; s++)
        bytes += hr_debug_nodes(variant, s, NULL);
    char *text = hr_blocks_take(&session->blocks, bytes, 1);
    for (uint32_t s = 0; s < variant->program.step_count && text; s++) {
        nodes[s] = text;
        text += hr_debug_nodes(variant, s, text);
    }
    return text;
}

hr_status hr_profile_open(hr_session *session, hr_profile_fn tell, void *context, hr_error *error) {
    const hr_variant *variant = &session->model->variant;
    hr_profile *p = hr_blocks_take(&session->blocks, 1, sizeof *p);
    if (p) {
        *p = (hr_profile){.tell = tell, .context = context};
        p->nodes = hr_blocks_take(&session->blocks, variant->program.step_count, sizeof *p->nodes);
        p->parts = hr_blocks_take(&session->blocks, session->threads, sizeof *p->parts);
    }
    if (!p || !p->nodes || !p->parts || !write_nodes(session, p->nodes))
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory for a profile", session->model->file.name);
    session->profile = p;
    return HR_OK;
}

hr_status hr_profile_launch(hr_session *session, hr_launch *launch, uint32_t kernel, hr_fault *fault, hr_error *error) {
    const hr_model *model = session->model;
    const hr_planned_step *step = &session->plan.steps[launch->index];
    hr_profile *p = session->profile;
    uint32_t part_count = 0;
    launch->parts = p->parts;
    launch->part_count = &part_count;
    uint64_t begin = hr_now_ns();
    uint32_t device = model->variant.kernels[kernel].device;
    hr_status status = model->devices[device].driver->launch(session->queues[device], launch, fault, error);
    uint64_t end = hr_now_ns();
    if (status)
        return status;
    if (part_count == 0 || part_count > session->threads) {
        p->parts[0] = (hr_profile_part){0, 0, begin, end};
        part_count = 1;
    }
    hr_profile_event event = {
        .kernel = launch->name,
        .nodes = p->nodes[launch->index],
        .tasks = launch->tasks,
        .begin_ns = begin,
        .end_ns = end,
        .kernel_index = kernel,
        .launch_index = launch->index,
        .flops = step->flops,
        .bytes = step->bytes,
        .parts = p->parts,
        .part_count = part_count,
    };
    p->tell(p->context, &event);
    return HR_OK;
}
