from benchmarks.deviceless import Kernel, kernels

PROGRAM = """HloModule jit_step, is_scheduled=true

%fused_computation (param_0: f32[4,8]) -> bf16[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  ROOT %convert.1 = bf16[4,8]{1,0} convert(%param_0)
}

ENTRY %main.5 (images: bf16[2,6,6,3], scale: f32[4,8]) -> (bf16[4,8], bf16[2,4,4,5]) {
  %images = bf16[2,6,6,3]{3,2,1,0} parameter(0)
  %kernel = bf16[5,3,3,3]{3,2,1,0} constant({...})
  %scale = f32[4,8]{1,0} parameter(1)
  %loop_convert_fusion = bf16[4,8]{1,0} fusion(%scale), calls=%fused_computation, metadata={op_name="jit(step)/convert"}
  %cudnn-conv.1 = (bf16[2,4,4,5]{3,2,1,0}, s8[4096]{0}) custom-call(%images, %kernel), custom_call_target="__cudnn$conv"
  %get-tuple-element.2 = bf16[2,4,4,5]{3,2,1,0} get-tuple-element(%cudnn-conv.1), index=0
  ROOT %tuple.3 = (bf16[4,8]{1,0}, bf16[2,4,4,5]{3,2,1,0}) tuple(%loop_convert_fusion, %get-tuple-element.2)
}
"""


def test_kernels_of_a_program_are_counted_with_what_they_read_and_write_but_not_the_workspace():
    convert = 4 * 8 * (4 + 2)
    convolution = 2 * (2 * 6 * 6 * 3 + 5 * 3 * 3 * 3 + 2 * 4 * 4 * 5)
    assert kernels(PROGRAM) == [
        Kernel("loop_convert_fusion", "fusion", convert, "jit(step)/convert"),
        Kernel("cudnn-conv.1", "__cudnn$conv", convolution),
    ]
